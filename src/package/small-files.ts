// Which files of the source go into the result beside its weights: tokenizer, generation config, licence, processors,
// remote code. Weights in other containers, pictures and the old model card do not.

/** Largest tokenizer.json in the wild is about 35 MB. */
export const MAX_SMALL_FILE_BYTES = 100_000_000;

const CARRIED =
  /\.(json|jinja|model|txt|tiktoken|py|vocab|bpe)$|^(LICENSE|LICENCE|NOTICE|USE_POLICY|COPYING)/i;
const REPLACED = new Set([
  "config.json",
  "model.safetensors.index.json",
  "pytorch_model.bin.index.json",
  "README.md",
  "recipe.yaml",
  "quantization-report.json",
]);

/** True for a file of the model's top folder that is copied as it is. */
export function isCarried(path: string, bytes: number): boolean {
  if (path.includes("/") || REPLACED.has(path) || bytes > MAX_SMALL_FILE_BYTES) return false;
  return CARRIED.test(path) && /^[A-Za-z0-9_][A-Za-z0-9._ -]*$/.test(path);
}
