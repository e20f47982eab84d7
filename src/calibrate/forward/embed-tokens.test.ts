import { describe, expect, it } from "vitest";
import { narrowFromFloat32 } from "../../formats/numbers/dtype.ts";
import { eachRow, embedTokens, type EmbeddingTable, openEmbedding } from "./embed-tokens.ts";

const ROWS = 60_000;
const COLUMNS = 8;

function table(multiplier = 1): EmbeddingTable & { readonly ranges: [number, number][] } {
  const values = Float32Array.from(
    { length: ROWS * COLUMNS },
    (_, index) => Math.floor(index / COLUMNS) % 128,
  );
  const bytes = narrowFromFloat32("BF16", values);
  const ranges: [number, number][] = [];
  return {
    dtype: "BF16",
    rows: ROWS,
    columns: COLUMNS,
    multiplier,
    ranges,
    read(start, end) {
      ranges.push([start, end]);
      return Promise.resolve(bytes.subarray(start, end));
    },
  };
}

describe("embedTokens", () => {
  it("gathers rows in the order of the ids, however often they come", async () => {
    const states = await embedTokens(table(), [7, 127, 7, 0]);
    expect([...states]).toEqual([7, 127, 7, 0].flatMap((id) => Array.from({ length: COLUMNS }, () => id)));
  });

  it("multiplies the rows where the model does", async () => {
    expect((await embedTokens(table(2.5), [3]))[0]).toBe(7.5);
  });

  it("reads rows that lie close together as one range, and each once", async () => {
    const source = table();
    await embedTokens(source, [59_900, 2, 1, 2, 10]);
    expect(source.ranges).toEqual([
      [16, 176],
      [59_900 * 16, 59_901 * 16],
    ]);
  });

  it("refuses ids outside the vocabulary", async () => {
    await expect(embedTokens(table(), [1, ROWS])).rejects.toThrow("Token id 60000 is outside");
  });
});

describe("openEmbedding", () => {
  it.each([Infinity, 0])("reads rows once or anew (%d bytes kept)", async (limit) => {
    const source = table(2);
    const embed = await openEmbedding(source, new Set([3, 7]), limit);
    expect((await embed([7, 3])).filter((_, at) => at % COLUMNS === 0)).toEqual(Float32Array.of(14, 6));
    expect([...(await embed([3]))]).toEqual(Array.from({ length: COLUMNS }, () => 6));
    expect(source.ranges).toHaveLength(limit > 0 ? 1 : 2);
  });
});

describe("eachRow", () => {
  it("gives rows as the table holds them, without those between, in the order of the ids", async () => {
    const source = table(2);
    const ids = [1, 2, 10, 59_900];
    const rows = new Uint8Array(ids.length * COLUMNS * 2);
    const firsts: number[] = [];
    await eachRow(source, ids, async (bytes, first) => {
      firsts.push(first);
      rows.set(bytes, first * COLUMNS * 2);
      await Promise.resolve();
    });
    const expected = ids.flatMap((id) => Array.from({ length: COLUMNS }, () => id % 128));
    expect(rows).toEqual(narrowFromFloat32("BF16", Float32Array.from(expected)));
    expect(firsts).toEqual([0, 3]);
    expect(source.ranges).toHaveLength(2);
  });

  it("refuses ids outside the vocabulary", async () => {
    await expect(eachRow(table(), [1, ROWS], async () => await Promise.resolve())).rejects.toThrow(
      "Token id 60000 is outside",
    );
  });
});
