// Bytes to text: UTF-8, or UTF-16 that says so by a byte-order mark. Anything else is refused with the place where it ceases to be
// text, instead of being calibrated on with "�" in it.

import { CalibrationError } from "../../errors.ts";

/** Bytes that are decoded at once while the first bad one is looked for. */
const SPAN = 64 * 1024;

/**
 * Decodes a file; a byte-order mark does not become part of the text.
 * @throws CalibrationError naming the offset of the first byte that is not text.
 */
export function decodeText(name: string, bytes: Uint8Array): string {
  const [first, second, third, fourth] = bytes;
  if (first === 0xff && second === 0xfe && third === 0 && fourth === 0) throw wrongEncoding(name, "UTF-32");
  if (first === 0 && second === 0 && third === 0xfe && fourth === 0xff) throw wrongEncoding(name, "UTF-32");
  if (first === 0xff && second === 0xfe) return decodeUtf16(name, "utf-16le", bytes);
  if (first === 0xfe && second === 0xff) return decodeUtf16(name, "utf-16be", bytes);
  return decodeUtf8(name, bytes);
}

function decodeUtf16(name: string, encoding: "utf-16le" | "utf-16be", bytes: Uint8Array): string {
  try {
    return new TextDecoder(encoding, { fatal: true }).decode(bytes);
  } catch (cause) {
    const offset = badOffset(encoding, bytes);
    throw new CalibrationError(
      `${name} begins as UTF-16, but is not at byte ${offset}. It is damaged, or cut off. Save it as UTF-8.`,
      { cause },
    );
  }
}

function decodeUtf8(name: string, bytes: Uint8Array): string {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    const offset = badOffset("utf-8", bytes);
    const value = (bytes[offset] ?? 0).toString(16).padStart(2, "0");
    throw new CalibrationError(
      `${name} is not text in UTF-8: the byte at offset ${offset} (0x${value}) is none of it. Save the file as UTF-8; if it is no text at all, choose another.`,
      { cause },
    );
  }
  const zero = bytes.indexOf(0);
  if (zero === -1) return text;
  throw new CalibrationError(
    `${name} has a zero byte at offset ${zero}: it is no text, or UTF-16 without a byte-order mark. Save it as UTF-8.`,
  );
}

function wrongEncoding(name: string, encoding: string): CalibrationError {
  return new CalibrationError(`${name} is text in ${encoding}, which is not read here. Save it as UTF-8.`);
}

/** Offset of the first character that cannot be decoded: found in a span, then byte by byte. */
function badOffset(encoding: string, bytes: Uint8Array): number {
  let done = 0;
  while (done + SPAN < bytes.length && decodes(encoding, bytes.subarray(0, done + SPAN), done)) done += SPAN;
  // A span may begin inside of a character: what came before it in the last three bytes is looked at again.
  const from = encoding === "utf-8" ? startOfCharacter(bytes, done) : done;
  const decoder = new TextDecoder(encoding, { fatal: true, ignoreBOM: true });
  let start = from;
  for (let index = from; index < bytes.length; index++) {
    try {
      if (decoder.decode(bytes.subarray(index, index + 1), { stream: true }) !== "") start = index + 1;
    } catch {
      return start;
    }
  }
  return start;
}

/** Whether the bytes from `from` on are whole characters, but for a last one that is cut off. */
function decodes(encoding: string, bytes: Uint8Array, from: number): boolean {
  const start = encoding === "utf-8" ? startOfCharacter(bytes, from) : from;
  try {
    new TextDecoder(encoding, { fatal: true, ignoreBOM: true }).decode(bytes.subarray(start), {
      stream: true,
    });
    return true;
  } catch {
    return false;
  }
}

/** The byte at or shortly before `index` that begins a character. */
function startOfCharacter(bytes: Uint8Array, index: number): number {
  let start = index;
  while (start > 0 && index - start < 3 && ((bytes[start] ?? 0) & 0xc0) === 0x80) start--;
  return start;
}
