// What stands where a file should be: the pointer of a clone without Git LFS
// (https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md), or the page of a sign-in or an error that was saved instead.

const POINTER = "version https://git-lfs.github.com/spec/";
/** A pointer is "less than 1024 bytes in size". */
const MAX_POINTER_BYTES = 1024;
/** Files that are never pages, whatever is in them. Texts and cards may be. */
const STRUCTURED = /\.(json|jsonl|ndjson|safetensors|parquet)$/i;
const PAGE = /^\s*<(!doctype\s+html|html)\b/i;
const MAX_BEGINNING_BYTES = 256;

/** What to tell of a file that another one stands for; null of any other file. `bytes` are all of it, or its beginning. */
export function standInSentence(path: string, bytes: Uint8Array): string | null {
  const beginning = new TextDecoder().decode(bytes.subarray(0, MAX_BEGINNING_BYTES));
  if (bytes.length <= MAX_POINTER_BYTES && beginning.startsWith(POINTER))
    return `${path} is a Git LFS pointer: three lines that stand for a file which was not downloaded. Run "git lfs pull" in the clone, or download the file itself.`;
  if (STRUCTURED.test(path) && PAGE.test(beginning))
    return `${path} is a web page (HTML): a sign-in, a refusal or an error was saved in its place. Download the file again, and sign in if it asks for that.`;
  return null;
}
