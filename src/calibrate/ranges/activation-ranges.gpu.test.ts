import { describe, expect, it } from "vitest";
import { ReadbackRing } from "../../gpu/staging/readback-ring.ts";
import { openTestGpu } from "../../testing/test-gpu/open-test-gpu.ts";
import { randomNormal, seededRandom } from "../../testing/random.ts";
import { makeBatches } from "../batches.ts";
import { openActivationRanges } from "./activation-ranges.ts";

describe("activation ranges", () => {
  it("are those of each sequence, however its rows come", async () => {
    using test = await openTestGpu();
    using readbacks = await ReadbackRing.create(test.gpu, { pieceBytes: 4096, pieces: 1 });
    const lengths = [3, 70, 1, 26];
    const [columns, stride, offset] = [67, 72, 4];
    const values = randomNormal(100 * stride + offset, seededRandom(7), 3);
    using buffer = await test.upload("activations", values);
    using ranges = await openActivationRanges(test.gpu, ["input"], lengths.length);
    let firstRow = 0;
    for (const batch of makeBatches(lengths, 80)) {
      ranges.begin(batch);
      for (let row = 0; row < batch.tokens; row += 33) {
        const rows = Math.min(33, batch.tokens - row);
        const at = offset + (firstRow + row) * stride;
        await ranges.observe("input", { buffer, rows, columns, stride, offset: at });
        await ranges.observe("another", { buffer, rows, columns, stride, offset: at });
      }
      firstRow += batch.tokens;
    }
    const starts = lengths.map((_, index) =>
      lengths.slice(0, index).reduce((sum, length) => sum + length, 0),
    );
    const expected = lengths.map((length, index) => {
      const own = Array.from({ length: length * columns }, (_, at) => {
        const row = (starts[index] ?? 0) + Math.floor(at / columns);
        return values[offset + row * stride + (at % columns)] ?? 0;
      });
      return [Math.min(0, ...own), Math.max(0, ...own)];
    });
    expect(await ranges.read(readbacks, "input")).toEqual(expected);
  });
});
