// A few bytes of a large file tell it from all others that are as long: whoever has found one on the disk compares them with the page's.

import type { SampledPlaces } from "../formats/files/sampled-places.ts";
import type { ResultFile } from "./result-files.ts";

/**
 * SHA-256 in hexadecimal digits of pieces of a file, one behind the other; the last may be cut by its end.
 * @throws StorageError if the file is gone, VerificationError if it has another length
 */
export async function sampleFile(
  file: Pick<ResultFile, "open">,
  { starts, pieceBytes }: SampledPlaces,
): Promise<string> {
  const opened = await file.open();
  const pieces = starts.map((start) => opened.slice(start, start + pieceBytes));
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", await new Blob(pieces).arrayBuffer()));
  return Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
