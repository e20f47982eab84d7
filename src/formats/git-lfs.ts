// What a clone without Git LFS holds instead of large files: three lines that name them
// (https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md).

const BEGINNING = "version https://git-lfs.github.com/spec/";
/** A pointer is "less than 1024 bytes in size". */
const MAX_BYTES = 1024;

/** True for a pointer that stands for a file which was not downloaded. */
export function isLfsPointer(bytes: Uint8Array): boolean {
  if (bytes.length < BEGINNING.length || bytes.length > MAX_BYTES) return false;
  return new TextDecoder().decode(bytes.subarray(0, BEGINNING.length)) === BEGINNING;
}

/** What to tell of a pointer. */
export function lfsPointerSentence(path: string): string {
  return `${path} is a Git LFS pointer: three lines that stand for a file which was not downloaded. Run "git lfs pull" in the clone, or download the file itself.`;
}
