import { createSHA256 } from "hash-wasm";

/** Bytes that are hashed at a time: enough to be fast, and nothing to a machine's memory. */
const PIECE_BYTES = 8 * 1024 ** 2;

export interface HasherApi {
  /** SHA-256 of a file, as hexadecimal digits. */
  hash(file: Blob, onBytes: (bytes: number) => void): Promise<string>;
}

/**
 * @param onBytes bytes hashed since the last call
 * @throws DOMException if the file goes away meanwhile
 */
export async function hashFile(file: Blob, onBytes: (bytes: number) => void): Promise<string> {
  const hash = await createSHA256();
  for (let start = 0; start < file.size; start += PIECE_BYTES) {
    const piece = new Uint8Array(await file.slice(start, start + PIECE_BYTES).arrayBuffer());
    hash.update(piece);
    onBytes(piece.byteLength);
  }
  return hash.digest("hex");
}
