import { afterAll, beforeAll, expect, it } from "vitest";
import { relativeError } from "../../../testing/fixtures/architecture-fixture.ts";
import { openTestGpu, type TestGpu } from "../../../testing/test-gpu/open-test-gpu.ts";
import { randomNormal, seededRandom } from "../../../testing/random.ts";
import { referenceScale } from "./reference.ts";
import { scale } from "./scale.ts";

let test: TestGpu;
beforeAll(async () => {
  test = await openTestGpu();
});
afterAll(() => test[Symbol.dispose]());

const [ROWS, COLUMNS, STRIDE, X] = [11, 20, 28, 4];

it("multiplies its columns by a factor on the GPU, and no others", async () => {
  const before = randomNormal(ROWS * STRIDE, seededRandom(4), 3);
  using buffer = await test.upload("x", before);
  using factor = await test.upload("factor", Float32Array.of(0.3));
  await scale(test.gpu, { buffer, rows: ROWS, columns: COLUMNS, stride: STRIDE, offset: X }, factor);
  const isScaled = (index: number) => index % STRIDE >= X && index % STRIDE < X + COLUMNS;
  const expected = referenceScale(before, Math.fround(0.3)).map((value, index) =>
    isScaled(index) ? value : (before[index] ?? 0),
  );
  expect(relativeError(await test.readFloats(buffer), expected)).toBeLessThan(1e-6);
});
