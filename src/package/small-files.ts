// Which files of the source go into the result beside its weights: what transformers writes and reads with a model (tokenizer,
// generation config, chat templates, processors, remote code) and the licence. Texts, pictures, weights in other containers
// and the old model card do not.

/** Largest tokenizer.json in the wild is about 35 MB. */
export const MAX_SMALL_FILE_BYTES = 100_000_000;

const CARRIED: readonly RegExp[] = [
  // Tokenizers, and the vocabularies of those without a tokenizer.json.
  /^(tokenizer.*|special_tokens_map|added_tokens|tekken|vocab.*|encoder|normalizer)\.json$/,
  /^(vocab\.txt|merges\.txt|bpe\.codes|tokenizer\.model.*|.*\.(model|tiktoken|bpe|vocab))$/,
  /^(generation_config|preprocessor_config|.*processor_config)\.json$/,
  /^chat_template.*\.(jinja|json)$/,
  /^.*\.py$/,
  /^(LICEN[SC]E|NOTICE|USE_POLICY|COPYING).*$/i,
];

/** True for a file of the model's top folder that is copied as it is. */
export function isCarried(path: string, bytes: number): boolean {
  if (!/^[A-Za-z0-9_][A-Za-z0-9._ -]*$/.test(path) || bytes > MAX_SMALL_FILE_BYTES) return false;
  return CARRIED.some((pattern) => pattern.test(path));
}
