import { describe, expect, it } from "vitest";
import { seededRandom } from "../../testing/random.ts";
import { packStream, unpackStream } from "./packing.ts";

const CASES = 12_000;

function packed(codes: readonly number[], bits: number): number[] {
  return [...new Int32Array(packStream(codes, bits, 2 ** (bits - 1)).buffer)];
}

describe("packed codes", () => {
  // The values of compressed-tensors' test_pack_quant.py, test_pack_to_int32 and test_unpack_from_int32.
  it.each([
    [4, [1], [9]],
    [8, [1], [129]],
    [4, [1, 2, 3, 4], [52137]],
    [4, [-8, -7, -6, -5, -4, -3, -2, -1], [1985229328]],
    [8, [1, 2, 3, 4], [-2071756159]],
    [8, [-128, -127, -126, -125], [50462976]],
    [4, [-8, -7, -6, -5, -4, -3, -2, -1, 1, 2, 3, 4], [1985229328, 52137]],
    [4, [1, 2, 3, 4, -8, -8, -8, -8, -8, -7, -6, -5, -4, -3, -2, -1], [52137, 1985229328]],
    [8, [1, 2, 3, 4, -128, -127, -126, -125], [-2071756159, 50462976]],
  ])("of %d bits: %j are the words %j, and back", (bits, codes, words) => {
    expect(packed(codes, bits)).toEqual(words);
    expect([...unpackStream(Uint32Array.from(words), bits, 2 ** (bits - 1), codes.length)]).toEqual(codes);
  });

  it("put the first of eight 4-bit codes into the lowest nibble, offset by 8", () => {
    expect(packStream([-8, -7, -6, -5, -4, -3, -2, 7], 4, 8)).toEqual(Uint32Array.of(0xf6543210));
  });

  it("of 3 bits straddle words", () => {
    const codes = Array.from({ length: 32 }, (_, index) => (index % 8) - 4);
    const words = packStream(codes, 3, 4);
    expect(words).toHaveLength(3);
    const bits = [...words]
      .map((word) => word.toString(2).padStart(32, "0"))
      .toReversed()
      .join("");
    expect(Number.parseInt(bits.slice(-3), 2)).toBe(0);
    expect(Number.parseInt(bits.slice(-33, -30), 2)).toBe(2);
  });

  // Releases before May 2026 put 32 / bits codes into each word; for widths that divide 32 that is the same.
  it.each([1, 2, 4, 8])("of %d bits lie as they did when no code straddled words", (bits) => {
    const random = seededRandom(bits);
    const codes = Array.from({ length: 77 }, () => Math.floor(random() * 2 ** bits) - 2 ** (bits - 1));
    const perWord = 32 / bits;
    const words = Array.from({ length: Math.ceil(77 / perWord) }, (_, word) =>
      codes
        .slice(word * perWord, (word + 1) * perWord)
        .reduce((sum, code, index) => sum + (code + 2 ** (bits - 1)) * 2 ** (bits * index), 0),
    );
    expect([...packStream(codes, bits, 2 ** (bits - 1))]).toEqual(words);
  });

  it(`come back in ${CASES} random cases of every width, whatever their count`, () => {
    const random = seededRandom(2);
    const seen = new Map<number, number>();
    const wrong: string[] = [];
    for (let turn = 0; turn < CASES; turn++) {
      const bits = 1 + (turn % 8);
      const count = 1 + Math.floor(random() * 100);
      const offset = 2 ** (bits - 1);
      const codes = Int32Array.from({ length: count }, () => Math.floor(random() * 2 ** bits) - offset);
      const words = packStream(codes, bits, offset);
      const back = unpackStream(words, bits, offset, count);
      const isWhole = words.length === Math.ceil((count * bits) / 32) && back.length === count;
      if (!isWhole || back.some((code, index) => code !== codes[index]))
        wrong.push(`${count} of ${bits} bits`);
      if (count % 32 !== 0) seen.set(bits, (seen.get(bits) ?? 0) + 1);
    }
    expect(wrong).toEqual([]);
    expect(Math.min(...seen.values())).toBeGreaterThan(1000);
    expect(seen.size).toBe(8);
  });
});
