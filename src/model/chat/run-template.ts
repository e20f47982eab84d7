// A chat template run as transformers runs it (`render_jinja_template`): the library's interpreter, with output printed as
// Python prints it, and a template's own refusal told from a fault in it.

import { Environment, Interpreter, Template } from "@huggingface/jinja";
import { pythonText } from "./python-text.ts";
import { strftime } from "./strftime.ts";

/** What a template said with `raise_exception`. */
export class TemplateRefusal extends Error {
  override readonly name = "TemplateRefusal";
}

type Program = Template["parsed"];
type Statement = NonNullable<Parameters<Interpreter["evaluate"]>[0]>;
type Value = ReturnType<Interpreter["evaluate"]>;

/** Nodes that do something instead of standing for a value that is written out. */
const STATEMENTS = new Set([
  "Program",
  "Set",
  "If",
  "For",
  "Macro",
  "CallStatement",
  "FilterStatement",
  "Break",
  "Continue",
  "Comment",
]);

/** How the library begins what it says of a key that is neither text nor number. */
const ODD_KEY = "Cannot access property with non-string";

export interface CompiledTemplate {
  /** @throws TemplateRefusal with the template's word; any other error for a template that cannot go on. */
  render(variables: Readonly<Record<string, unknown>>): string;
}

/** @throws an error of the library's for text that is no template. */
export function compileTemplate(text: string): CompiledTemplate {
  const { parsed } = new Template(text);
  const outputs = outputsOf(parsed);
  return {
    render(variables) {
      const environment = new Environment();
      for (const [name, value] of Object.entries({ ...globals(), ...variables }))
        environment.set(name, value);
      const result = new PythonInterpreter(environment, outputs).run(parsed);
      return result.toString();
    },
  };
}

class PythonInterpreter extends Interpreter {
  readonly #outputs: ReadonlySet<unknown>;

  constructor(environment: Environment, outputs: ReadonlySet<unknown>) {
    super(environment);
    this.#outputs = outputs;
  }

  override evaluate(statement: Statement | undefined, environment: Environment): Value {
    const value = this.#valueOf(statement, environment);
    if (!this.#outputs.has(statement) || value.type === "StringValue") return value;
    return runtimeValue(pythonText(value));
  }

  /** In Python, what a mapping has not is undefined, whatever it is asked for; the library refuses to look up a list. */
  #valueOf(statement: Statement | undefined, environment: Environment): Value {
    try {
      return super.evaluate(statement, environment);
    } catch (error) {
      const isMissing = error instanceof Error && error.message.startsWith(ODD_KEY);
      if (statement?.type === "MemberExpression" && isMissing) return runtimeValue(undefined);
      throw error;
    }
  }
}

function runtimeValue(value: string | undefined): Value {
  return new Environment().set("value", value);
}

/** What transformers gives to every template beside the conversation's own variables. */
function globals(): Readonly<Record<string, unknown>> {
  return {
    true: true,
    false: false,
    none: null,
    True: true,
    False: false,
    None: null,
    raise_exception(message: unknown) {
      throw new TemplateRefusal(String(message));
    },
    range: (...bounds: number[]) => pythonRange(bounds),
    strftime_now: (format: string) => strftime(new Date(), format),
  };
}

/** More than any conversation has messages; a template is a program from a stranger. */
const MAX_RANGE = 1_000_000;

function pythonRange(bounds: readonly number[]): number[] {
  const [first = 0, second, step = 1] = bounds;
  const [start, stop] = second === undefined ? [0, first] : [first, second];
  const length = Math.max(0, Math.ceil((stop - start) / step));
  if (!(length <= MAX_RANGE))
    throw new RangeError(`range() of ${length} numbers is more than is counted here`);
  return Array.from({ length }, (_, index) => start + index * step);
}

/** Expressions that stand for themselves in a block: `{{ … }}`. */
function outputsOf(program: Program): ReadonlySet<unknown> {
  const outputs = new Set<unknown>();
  const visit = (node: unknown): void => {
    if (Array.isArray(node)) {
      for (const child of node) {
        if (isNode(child) && !STATEMENTS.has(child.type)) outputs.add(child);
        visit(child);
      }
      return;
    }
    if (!isNode(node) || !STATEMENTS.has(node.type)) return;
    // A block's statements are the lists among a statement's fields, but for the arguments of macros and calls.
    for (const [field, child] of Object.entries(node)) {
      if (Array.isArray(child) && !/args$/i.test(field)) visit(child);
    }
  };
  visit(program);
  return outputs;
}

function isNode(value: unknown): value is { readonly type: string } {
  return typeof value === "object" && value !== null && "type" in value && typeof value.type === "string";
}
