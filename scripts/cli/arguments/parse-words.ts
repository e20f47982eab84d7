// The words of a command line by its options. What Node.js says of words that it cannot place takes several lines; here it is a sentence.

import { parseArgs, type ParseArgsConfig } from "node:util";
import { UsageError } from "./argument-readers.ts";

type Options = NonNullable<ParseArgsConfig["options"]>;

/** An option as it stands in the command line. */
interface GivenOption {
  readonly name: string;
  /** With its dashes. */
  readonly rawName: string;
  readonly value: string | undefined;
  /** Whether the value is joined to it by "=". */
  readonly inlineValue: boolean | undefined;
}

/**
 * The words of a command line by its options.
 * @param emptied options for which a value of no letters means something; of others, a shell made it of a variable that is not set
 * @throws UsageError if one is none of them, lacks its value or has one too many, or is given twice although one value counts
 */
export function parseWords<const Known extends Options>(
  args: readonly string[],
  options: Known,
  emptied: readonly (keyof Known)[] = [],
): ReturnType<typeof parseArgs<{ options: Known; allowPositionals: true }>> {
  const words = { args: [...args], options, allowPositionals: true } as const;
  const seen = new Set<string>();
  for (const token of parseArgs({ ...words, strict: false, tokens: true }).tokens) {
    if (token.kind !== "option") continue;
    const problem =
      optionProblem(token, options) ??
      (seen.has(token.name) ? twice(token, options) : null) ??
      (emptied.includes(token.name) ? null : emptiness(token));
    if (problem !== null) throw new UsageError(problem);
    seen.add(token.name);
  }
  try {
    return parseArgs({ ...words, strict: true });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

/**
 * The options of a command line that has no other words.
 * @throws UsageError as `parseWords` does, and for any other word
 */
export function parseOptions<const Known extends Options>(
  args: readonly string[],
  options: Known,
): ReturnType<typeof parseWords<Known>>["values"] {
  const { values, positionals } = parseWords(args, options);
  const [word] = positionals;
  if (word !== undefined) throw new UsageError(`“${word}” is not understood; all arguments are options.`);
  return values;
}

function optionProblem({ name, rawName, value, inlineValue }: GivenOption, options: Options): string | null {
  const known = Object.hasOwn(options, name) ? options[name] : undefined;
  if (!known) return `There is no option ${rawName}.`;
  if (known.type === "boolean")
    return value === undefined ? null : `${rawName} takes no value, but is given “${value}”.`;
  if (value === undefined) return `${rawName} needs a value behind it.`;
  if (inlineValue || !/^-./.test(value)) return null;
  return `${rawName} needs a value, and ${value} looks like the next option. If it is the value, write ${rawName}=${value}.`;
}

function emptiness({ rawName, value }: GivenOption): string | null {
  if (value === undefined || value.trim() !== "") return null;
  return `${rawName} is given an empty value. Say what it is, or leave it out.`;
}

/** The last of several values would count, and the others would be given in vain. */
function twice({ name, rawName }: GivenOption, options: Options): string | null {
  const known = options[name];
  if (known?.type === "boolean" || known?.multiple) return null;
  // A value may be a token, which nobody is to read.
  return `${rawName} is given twice, and only one value can count. Leave the other out.`;
}
