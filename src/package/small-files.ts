// Which files of the source go into the result beside its weights: what transformers and sentence-transformers write and read
// with a model (tokenizer, generation config, chat templates, processors, remote code, modules that pool), and the licence.
// Texts, pictures, weights in other containers and the old model card do not.

import { formatBytes } from "../formats/text/format-bytes.ts";
import { isSafePath } from "../formats/files/safe-path.ts";
import { listSome } from "../formats/text/list-some.ts";

/** Largest tokenizer.json in the wild is about 35 MB. */
export const MAX_SMALL_FILE_BYTES = 100_000_000;

const CARRIED: readonly RegExp[] = [
  // Tokenizers, and the vocabularies of those without a tokenizer.json.
  /^(tokenizer.*|special_tokens_map|added_tokens|tekken|vocab.*|encoder|normalizer)\.json$/,
  /^(vocab\.txt|merges\.txt|bpe\.codes|tokenizer\.model.*|[^/]*\.(model|tiktoken|bpe|vocab))$/,
  /^(generation_config|preprocessor_config|[^/]*processor_config)\.json$/,
  /^chat_template[^/]*\.(jinja|json)$/,
  /^additional_chat_templates\/[^/]+\.jinja$/,
  // sentence-transformers: the list of modules, and a numbered folder for each that has something to keep.
  /^(modules|config_sentence_transformers|sentence_[a-z_]*config)\.json$/,
  /^\d+_[A-Za-z0-9]+\/([a-z_]*config\.json|model\.safetensors|[a-z_]*tokenizer[a-z_]*\.json)$/,
  // Code that config.json names, and what it imports from folders of its own.
  /^[^.][^.]*\.py$/,
  /^(LICEN[SC]E|NOTICE|USE_POLICY|COPYING)[^/]*$/i,
];

/** Folders with other forms of the same model, or with what was used to make it: their code is not the model's. */
const FOREIGN_FOLDERS = /^(original|onnx|openvino|coreml|gguf|metal|tests?|examples?|scripts?|\.[^/]*)\//i;

/** True for a file that is copied as it is, into the same place. */
export function isCarried(path: string, bytes: number): boolean {
  if (!isSafePath(path) || path.startsWith(".") || bytes > MAX_SMALL_FILE_BYTES) return false;
  return !FOREIGN_FOLDERS.test(path) && CARRIED.some((pattern) => pattern.test(path));
}

/** Files that a result has anew, or that weights are read from. */
const REPLACED =
  /^(config\.json|README\.md|recipe\.yaml|(quantization-report|receipt)\.json|[^/]*\.safetensors(\.index\.json)?|\.gitattributes)$/;
const SHOWN = 6;

/** Sentences on the files that do not come along, or null if all do. */
export function leftOutNote(
  files: readonly { readonly path: string; readonly bytes: number }[],
): string | null {
  const behind = files.filter(({ path, bytes }) => !REPLACED.test(path) && !isCarried(path, bytes));
  const isLarge = ({ path }: { readonly path: string }) => isCarried(path, 0);
  const large = behind.filter(isLarge).map(({ path, bytes }) => `${path} (${formatBytes(bytes)})`);
  const left = behind.filter((file) => !isLarge(file)).map(({ path }) => path);
  const notes: string[] = [];
  if (left.length > 0)
    notes.push(
      `${stay(left)}. The result has the weights, configuration, tokenizer, templates, code and licence.`,
    );
  if (large.length > 0)
    notes.push(
      `${stay(large)}, being larger than any such file is known to be (${formatBytes(MAX_SMALL_FILE_BYTES)}). Copy what the result needs of this yourself.`,
    );
  return notes.length === 0 ? null : notes.join(" ");
}

/** "2 files stay behind: a, b". */
function stay(names: readonly string[]): string {
  const sorted = names.toSorted((a, b) => (a < b ? -1 : 1));
  const are = sorted.length === 1 ? "A file stays" : `${sorted.length} files stay`;
  return `${are} behind: ${listSome(sorted, SHOWN)}`;
}
