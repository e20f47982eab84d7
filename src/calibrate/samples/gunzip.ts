import { CalibrationError } from "../../errors.ts";
import { formatBytes } from "../../formats/text/format-bytes.ts";
import { MAX_CALIBRATION_BYTES } from "./sample.ts";

/**
 * Decompresses gzip, no further than calibration text may be long.
 * @throws CalibrationError for a file that is damaged, or becomes too long.
 */
export async function gunzip(name: string, bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  const reader = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip")).getReader();
  const pieces: Uint8Array[] = [];
  let length = 0;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      length += value.byteLength;
      if (length > MAX_CALIBRATION_BYTES) break;
      pieces.push(value);
    }
  } catch (cause) {
    throw new CalibrationError(
      `${name} is gzip-compressed and cannot be unpacked after ${formatBytes(length)}: it is damaged, cut off, or several archives in one. Unpack it first.`,
      { cause },
    );
  }
  if (length > MAX_CALIBRATION_BYTES) {
    await reader.cancel();
    throw new CalibrationError(
      `${name} is more than ${formatBytes(MAX_CALIBRATION_BYTES)} long when it is unpacked; a few thousand samples are plenty. Take a part of it.`,
    );
  }
  const whole = new Uint8Array(length);
  let offset = 0;
  for (const piece of pieces) {
    whole.set(piece, offset);
    offset += piece.byteLength;
  }
  return whole;
}
