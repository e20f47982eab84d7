import { MalformedModelError } from "../../errors.ts";
import type { SourceApi, SourceFile } from "../../api/source-api.ts";
import { MAX_TOKENIZER_BYTES } from "../../model/tokenizer/tokenizer.ts";
import { type OpenTokenizer, startTokenizer } from "./tokenizer-worker.ts";

/** Where transformers keeps templates beside the default one. */
const OTHER_TEMPLATES = /^additional_chat_templates\/([^/]+)\.jinja$/;
/** A model has a few; bounds what a listing can make us read. */
const MAX_TEMPLATES = 32;

/**
 * A model's tokenizer with its chat templates, in a worker of its own, or null if it has no tokenizer.json.
 * @throws MalformedModelError if there are too many templates
 */
export async function openTokenizer(
  source: Pick<SourceApi, "readFile">,
  files: readonly SourceFile[],
): Promise<OpenTokenizer | null> {
  const paths = new Set(files.map(({ path }) => path));
  const read = async (path: string) =>
    paths.has(path) ? await source.readFile(path, MAX_TOKENIZER_BYTES) : null;
  if (!paths.has("tokenizer.json")) return null;
  const templates = templatePaths(paths);
  const [tokenizerJson, tokenizerConfig, processorTemplate, ...found] = await Promise.all(
    [
      "tokenizer.json",
      "tokenizer_config.json",
      "chat_template.json",
      ...templates.map(([, path]) => path),
    ].map(read),
  );
  if (!tokenizerJson) return null;
  const chatTemplates = new Map<string, Uint8Array>();
  for (const [at, [name]] of templates.entries()) {
    const template = found[at];
    if (template) chatTemplates.set(name, template);
  }
  return await startTokenizer({
    tokenizerJson,
    tokenizerConfig: tokenizerConfig ?? null,
    chatTemplates,
    processorTemplate: processorTemplate ?? null,
  });
}

function templatePaths(paths: ReadonlySet<string>): [string, string][] {
  const others = [...paths].flatMap((path): [string, string][] => {
    const name = OTHER_TEMPLATES.exec(path)?.[1];
    return name === undefined ? [] : [[name, path]];
  });
  if (others.length > MAX_TEMPLATES) {
    throw new MalformedModelError(
      `additional_chat_templates holds ${others.length} templates, and ${MAX_TEMPLATES} at most are read. Remove those that nobody uses, or give token ids instead of text.`,
    );
  }
  return [["default", "chat_template.jinja"], ...others];
}
