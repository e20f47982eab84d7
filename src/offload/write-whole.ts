/**
 * Writes all of the bytes at a place of a file.
 * @throws Error if the file took fewer: a full disk may say so in no other way.
 */
export function writeWhole(
  handle: FileSystemSyncAccessHandle,
  bytes: Uint8Array<ArrayBuffer> | Uint32Array<ArrayBuffer>,
  at: number,
): void {
  const written = handle.write(bytes, { at });
  if (written !== bytes.byteLength)
    throw new Error(`only ${written} of ${bytes.byteLength} bytes were written`);
}
