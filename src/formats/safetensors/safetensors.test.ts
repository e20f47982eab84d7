import { describe, expect, it } from "vitest";
import { MalformedModelError } from "../../errors.ts";
import { layOutSafetensors, parseHeader, parseHeaderLength, type TensorSpec } from "./safetensors.ts";

const FILE = "model.safetensors";

function header(json: string): Uint8Array {
  return new TextEncoder().encode(json);
}

/** Parses a header whose data part has `dataBytes` bytes. */
function parse(json: string, dataBytes: number) {
  const bytes = header(json);
  return parseHeader(FILE, bytes, 8 + bytes.byteLength + dataBytes);
}

const entry = (dtype: string, shape: number[], start: number, end: number) =>
  JSON.stringify({ dtype, shape, data_offsets: [start, end] });

describe("parseHeader", () => {
  it("gives absolute byte ranges in file order", () => {
    const json = `{"__metadata__":{"format":"pt"},"b":${entry("F32", [2], 4, 12)},"a":${entry("BF16", [2], 0, 4)}}`;
    const start = 8 + json.length;
    expect(parse(json, 12)).toEqual([
      { name: "a", dtype: "BF16", shape: [2], start, end: start + 4 },
      { name: "b", dtype: "F32", shape: [2], start: start + 4, end: start + 12 },
    ]);
  });

  it("accepts empty tensors, scalars, sub-byte dtypes and space padding", () => {
    const json = `{"e":${entry("F32", [0, 4], 0, 0)},"f":${entry("F4", [4], 0, 2)},"s":${entry("I64", [], 2, 10)}}   `;
    expect(parse(json, 10).map(({ name }) => name)).toEqual(["e", "f", "s"]);
  });

  const evil: readonly [string, string, number, RegExp][] = [
    [
      "a tensor past the end of the file",
      `{"a":${entry("U8", [9], 0, 9)}}`,
      4,
      /"a" ends at byte \d+, but the file has/,
    ],
    ["overlapping tensors", `{"a":${entry("U8", [4], 0, 4)},"b":${entry("U8", [4], 2, 6)}}`, 6, /overlaps/],
    ["a hole", `{"a":${entry("U8", [4], 0, 4)},"b":${entry("U8", [4], 5, 9)}}`, 9, /hole/],
    ["bytes that belong to nothing", `{"a":${entry("U8", [4], 0, 4)}}`, 5, /end at byte/],
    [
      "a span that is not shape x dtype",
      `{"a":${entry("F32", [2], 0, 4)}}`,
      4,
      /spans 4 bytes, but \[2\] of F32 takes 8/,
    ],
    ["an unknown dtype", `{"a":${entry("F17", [1], 0, 2)}}`, 2, /unknown dtype "F17"/],
    ["a dtype from Object.prototype", `{"a":${entry("constructor", [1], 0, 2)}}`, 2, /unknown dtype/],
    ["a negative size", `{"a":${entry("U8", [-1], 0, 1)}}`, 1, /shape/],
    ["a fractional offset", `{"a":{"dtype":"U8","shape":[1],"data_offsets":[0.5,1.5]}}`, 1, /data_offsets/],
    [
      "a shape that overflows",
      `{"a":${entry("U8", [2 ** 40, 2 ** 40], 0, 1)}}`,
      1,
      /no whole or possible number/,
    ],
    ["half a byte", `{"a":${entry("F4", [3], 0, 1)}}`, 1, /no whole/],
    [
      "a name twice",
      `{"a":${entry("U8", [1], 0, 1)},"\\u0061":${entry("U8", [1], 1, 2)}}`,
      2,
      /names the tensor "a" twice/,
    ],
    ["a path as name", `{"../../etc/passwd":${entry("U8", [1], 0, 1)}}`, 1, /looks like a path/],
    ["a name of control characters", `{"a\\u0000b":${entry("U8", [1], 0, 1)}}`, 1, /looks like a path/],
    ["an entry that is no object", `{"a":7}`, 0, /not described by an object/],
    ["a list instead of an object", `[]`, 0, /not a JSON object/],
    ["broken JSON", `{"a":`, 0, /not valid JSON/],
  ];

  it.each(evil)("refuses %s", (_what, json, dataBytes, message) => {
    expect(() => parse(json, dataBytes)).toThrow(message);
    expect(() => parse(json, dataBytes)).toThrow(MalformedModelError);
  });

  it("refuses bytes that are not UTF-8", () => {
    expect(() => parseHeader(FILE, Uint8Array.of(0x7b, 0xff, 0x7d), 11)).toThrow(/UTF-8/);
  });

  it('takes "__proto__" for a name like any other', () => {
    const json = `{"__proto__":${entry("U8", [1], 0, 1)}}`;
    expect(parse(json, 1).map(({ name }) => name)).toEqual(["__proto__"]);
  });
});

describe("parseHeaderLength", () => {
  const prefix = (length: bigint) => new Uint8Array(BigUint64Array.of(length).buffer);

  it("reads the length", () => {
    expect(parseHeaderLength(FILE, prefix(100n), 200)).toBe(100);
  });

  it("refuses a header over 100 MB, over the file, or no header at all", () => {
    expect(() => parseHeaderLength(FILE, prefix(100_000_001n), 2 ** 40)).toThrow(
      /the format allows 100000000/,
    );
    expect(() => parseHeaderLength(FILE, prefix(2n ** 63n), 2 ** 40)).toThrow(/damaged/);
    expect(() => parseHeaderLength(FILE, prefix(100n), 107)).toThrow(/the whole file has 107/);
    expect(() => parseHeaderLength(FILE, new Uint8Array(3), 3)).toThrow(/too few/);
  });
});

describe("layOutSafetensors", () => {
  const tensors: TensorSpec[] = [
    { name: "b.scale", dtype: "BF16", shape: [3] },
    { name: "b.packed", dtype: "I32", shape: [2, 2] },
    { name: "a.shape", dtype: "I64", shape: [2] },
    { name: "__proto__", dtype: "U8", shape: [5] },
  ];

  it("puts wide dtypes first, then names, so that every tensor is aligned", () => {
    const layout = layOutSafetensors(tensors);
    expect(layout.entries.map(({ name }) => name)).toEqual(["a.shape", "b.packed", "b.scale", "__proto__"]);
    expect(layout.entries.map(({ start }) => (start - layout.header.byteLength) % 8)).toEqual([0, 0, 0, 6]);
    expect(layout.header.byteLength % 8).toBe(0);
  });

  it("writes what parseHeader reads", () => {
    const { header: bytes, entries, fileBytes } = layOutSafetensors(tensors);
    const length = parseHeaderLength(FILE, bytes, fileBytes);
    expect(parseHeader(FILE, bytes.subarray(8, 8 + length), fileBytes)).toEqual(entries);
  });
});
