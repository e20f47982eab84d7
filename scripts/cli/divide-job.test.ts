import { describe, expect, it } from "vitest";
import { divideJob, divisionLines } from "./divide-job.ts";

function costs(bytes: readonly number[], operations: readonly number[] = []) {
  return bytes.map((size, at) => ({ name: `layers.${at}`, bytes: size, operations: operations[at] ?? 0 }));
}
const ranges = (...args: Parameters<typeof divideJob>) =>
  divideJob(...args).parts.map(({ layers }) => layers);

describe("divideJob", () => {
  it("cuts equal layers into equal ranges, and leaves no layer out", () => {
    const layers = costs(Array.from({ length: 32 }, () => 7));
    expect(ranges({ layers, restBytes: 9, batches: 0, independent: true }, 4)).toEqual([
      "0..7",
      "8..15",
      "16..23",
      "24..31",
      "rest",
    ]);
    expect(ranges({ layers, restBytes: 9, batches: 0, independent: true }, 1)).toEqual(["0..31", "rest"]);
  });

  it("makes the dearest range as cheap as can be", () => {
    const layers = costs([8, 1, 1, 1, 1, 4]);
    expect(ranges({ layers, restBytes: 0, batches: 0, independent: true }, 2)).toEqual([
      "0..0",
      "1..5",
      "rest",
    ]);
    expect(ranges({ layers, restBytes: 0, batches: 0, independent: true }, 3)).toEqual([
      "0..0",
      "1..4",
      "5..5",
      "rest",
    ]);
  });

  it("goes by operations where something is calibrated, by bytes elsewhere", () => {
    const layers = costs([1, 1, 1, 1], [9, 1, 1, 1]);
    expect(ranges({ layers, restBytes: 0, batches: 0, independent: true }, 2)).toEqual([
      "0..0",
      "1..3",
      "rest",
    ]);
    expect(
      divideJob({ layers: costs([1, 1, 1, 1]), restBytes: 0, batches: 0, independent: true }, 2),
    ).toMatchObject({
      by: "bytes",
      parts: [{ layers: "0..1", bytes: 2 }, { layers: "2..3", bytes: 2 }, { layers: "rest" }],
    });
  });

  it("makes as many ranges as are asked for, or one a layer", () => {
    expect(
      ranges({ layers: costs([1, 1, 1, 1]), restBytes: 0, batches: 0, independent: true }, 3),
    ).toHaveLength(4);
    expect(ranges({ layers: costs([1, 1]), restBytes: 5, batches: 0, independent: true }, 9)).toEqual([
      "0..0",
      "1..1",
      "rest",
    ]);
    expect(ranges({ layers: [], restBytes: 5, batches: 0, independent: true }, 2)).toEqual(["rest"]);
  });

  it("is told in a line for each part", () => {
    const lines = divisionLines(
      divideJob({ layers: costs([1024 ** 3, 1024 ** 3]), restBytes: 0, batches: 0, independent: true }, 2),
    );
    expect(lines[0]).toMatch(/^--layers 0\.\.0 +1 GiB of weights, 50\.0 % of the work$/);
  });
});
