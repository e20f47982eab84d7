import { describe, expect, it } from "vitest";
import { decodeText } from "./decode-text.ts";

const TEXT = 'Ada: "naïve café" — 🦔\r\nfin';
const utf8 = new TextEncoder().encode(TEXT);

function utf16(text: string, bigEndian: boolean): Uint8Array {
  const bytes = new Uint8Array(2 * text.length);
  const view = new DataView(bytes.buffer);
  for (let index = 0; index < text.length; index++)
    view.setUint16(2 * index, text.charCodeAt(index), !bigEndian);
  return bytes;
}

describe("decodeText", () => {
  it("reads UTF-8 and UTF-16 with a byte-order mark, which is no part of the text", () => {
    expect(decodeText("a", utf8)).toBe(TEXT);
    expect(decodeText("a", Uint8Array.of(0xef, 0xbb, 0xbf, ...utf8))).toBe(TEXT);
    expect(decodeText("a", Uint8Array.of(0xff, 0xfe, ...utf16(TEXT, false)))).toBe(TEXT);
    expect(decodeText("a", Uint8Array.of(0xfe, 0xff, ...utf16(TEXT, true)))).toBe(TEXT);
  });

  it.each([
    ["Latin-1", [0x63, 0x61, 0x66, 0xe9, 0x20, 0x62], 3],
    ["a lone continuation byte", [0x61, 0x62, 0x80], 2],
    ["a character that is cut off by another", [0x61, 0xe2, 0x82, 0x61], 1],
    ["a character that is cut off by the end", [0x61, 0x62, 0xf0, 0x9f, 0xa6], 2],
    ["an overlong form", [0xc0, 0xaf], 0],
  ])("refuses %s with its offset", (_, bytes, offset) => {
    expect(() => decodeText("a.txt", Uint8Array.from(bytes))).toThrow(
      `a.txt is not text in UTF-8: the byte at offset ${offset} (`,
    );
  });

  it.each([65_535, 65_536, 65_537, 200_001])("finds the first bad byte at %i", (offset) => {
    const bytes = new TextEncoder().encode("é".repeat(150_000)).slice();
    const even = offset - (offset % 2);
    bytes[even + 1] = 0x41;
    expect(() => decodeText("a.txt", bytes)).toThrow(`offset ${even} `);
  });

  it("refuses UTF-16 without a mark, UTF-32, and UTF-16 that is cut off", () => {
    expect(() => decodeText("a.txt", utf16("Ada", false))).toThrow(
      "a.txt has a zero byte at offset 1: it is no text, or UTF-16 without a byte-order mark",
    );
    expect(() => decodeText("a.txt", Uint8Array.of(0xff, 0xfe, 0, 0, 0x41, 0, 0, 0))).toThrow("UTF-32");
    expect(() => decodeText("a.txt", Uint8Array.of(0xff, 0xfe, 0x41, 0, 0x42))).toThrow(
      "begins as UTF-16, but is not at byte 4",
    );
  });
});
