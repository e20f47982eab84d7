import { describe, expect, it } from "vitest";
import { openTestGpu } from "../../testing/test-gpu/open-test-gpu.ts";
import { randomNormal, seededRandom } from "../../testing/random.ts";
import { rowDifferences } from "./row-differences.ts";

describe("differences of rows", () => {
  it("agree with float64, behind what was there before, without what rows carry", async () => {
    const [rows, columns, stride, first] = [3, 70, 77, 2];
    const random = seededRandom(8);
    const [a, b] = [randomNormal(rows * stride, random, 2), randomNormal(rows * stride, random, 2)];
    using test = await openTestGpu();
    using one = await test.upload("a", a);
    using other = await test.upload("b", b);
    using sums = await test.upload("sums", new Float32Array((first + rows) * 2).fill(7));
    await rowDifferences(test.gpu, { a: one, b: other }, { rows, columns, stride }, sums, first);
    const found = await test.readFloats(sums);
    expect(Array.from(found.subarray(0, first * 2))).toEqual([7, 7, 7, 7]);
    for (let row = 0; row < rows; row++) {
      let [difference, square] = [0, 0];
      for (let at = row * stride; at < row * stride + columns; at++) {
        difference += ((a[at] ?? 0) - (b[at] ?? 0)) ** 2;
        square += (b[at] ?? 0) ** 2;
      }
      const at = (first + row) * 2;
      expect(Math.abs((found[at] ?? 0) / difference - 1)).toBeLessThan(1e-6);
      expect(Math.abs((found[at + 1] ?? 0) / square - 1)).toBeLessThan(1e-6);
    }
  });
});
