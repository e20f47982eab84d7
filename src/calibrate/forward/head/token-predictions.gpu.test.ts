import { describe, expect, it } from "vitest";
import { openTestGpu } from "../../../testing/test-gpu/open-test-gpu.ts";
import { randomNormal, seededRandom } from "../../../testing/random.ts";
import { referencePrediction } from "./reference.ts";
import { PREDICTION_COLUMNS, tokenPredictions } from "./token-predictions.ts";

const [ROWS, COLUMNS, STRIDE, FIRST_TOKEN, FIRST_ID] = [5, 301, 304, 2, 64];

describe("what logits say of tokens", () => {
  it("agrees with float64, for one model and for two, wherever the run of the vocabulary lies", async () => {
    const random = seededRandom(6);
    const [own, other] = [randomNormal(ROWS * STRIDE, random, 5), randomNormal(ROWS * STRIDE, random, 5)];
    const targets = Uint32Array.of(0, 0, FIRST_ID, FIRST_ID + 300, FIRST_ID + 7, FIRST_ID + 301, 3);
    using test = await openTestGpu();
    using ownLogits = await test.upload("own", own);
    using otherLogits = await test.upload("other", other);
    using wanted = await test.upload("targets", targets);
    using found = await test.empty("found", (FIRST_TOKEN + ROWS) * PREDICTION_COLUMNS.length * 4);
    const rowOf = (values: Float32Array, row: number) =>
      Array.from(values.subarray(row * STRIDE, row * STRIDE + COLUMNS));
    const run = {
      own: ownLogits,
      rows: ROWS,
      columns: COLUMNS,
      stride: STRIDE,
      firstToken: FIRST_TOKEN,
      firstId: FIRST_ID,
    };
    for (const compared of [otherLogits, null]) {
      await tokenPredictions(test.gpu, { ...run, other: compared }, wanted, found);
      const values = await test.readFloats(found);
      for (let row = 0; row < ROWS; row++) {
        const at = (FIRST_TOKEN + row) * PREDICTION_COLUMNS.length;
        const id = targets[FIRST_TOKEN + row] ?? 0;
        const expected = referencePrediction(rowOf(own, row), rowOf(other, row), id - FIRST_ID);
        for (const [index, value] of expected.slice(0, compared ? 8 : 3).entries()) {
          const isTarget = PREDICTION_COLUMNS[index]?.toLowerCase().endsWith("target");
          // A target that lies elsewhere is told by another run.
          if (isTarget && (id < FIRST_ID || id >= FIRST_ID + COLUMNS)) continue;
          expect(Math.abs((values[at + index] ?? 0) - value)).toBeLessThan(2e-6 * Math.abs(value) + 1e-6);
        }
      }
    }
  });
});
