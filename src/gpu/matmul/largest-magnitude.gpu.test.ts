import { afterAll, beforeAll, expect, it } from "vitest";
import { type FloatDtype, narrowFromFloat32, widenToFloat32 } from "../../formats/numbers/dtype.ts";
import { openTestGpu, type TestGpu } from "../../testing/test-gpu/open-test-gpu.ts";
import { randomNormal, seededRandom } from "../../testing/random.ts";
import { findLargestMagnitude } from "./largest-magnitude.ts";

let test: TestGpu;
beforeAll(async () => {
  test = await openTestGpu();
});
afterAll(() => test[Symbol.dispose]());

const bitsOf = (value: number) => new Uint32Array(Float32Array.of(value).buffer)[0];

interface Case {
  readonly dtype: FloatDtype;
  readonly rows: number;
  readonly columns: number;
}

/** Values of which the largest is negative, with larger ones in the padding behind the columns. */
function matrix({ dtype, rows, columns }: Case) {
  const stride = Math.ceil(columns / 8) * 8 + 8;
  const values = randomNormal(rows * stride, seededRandom(rows + columns));
  for (let row = 0; row < rows; row++) values.fill(1000, row * stride + columns, (row + 1) * stride);
  values[(rows - 1) * stride + columns - 1] = -77.25;
  return { stride, bytes: narrowFromFloat32(dtype, values) };
}

it.each([
  { dtype: "F32", rows: 1, columns: 1 },
  { dtype: "F32", rows: 70, columns: 1031 },
  { dtype: "BF16", rows: 33, columns: 517 },
  { dtype: "F16", rows: 5, columns: 2047 },
] as const)("finds the largest of $rows x $columns in $dtype, exactly", async (c) => {
  const { stride, bytes } = matrix(c);
  using buffer = await test.upload("values", bytes);
  using largest = await test.upload("largest", new Uint32Array(4));
  await findLargestMagnitude(test.gpu, { ...c, buffer, stride }, largest, 2);
  const [wanted] = widenToFloat32(c.dtype, narrowFromFloat32(c.dtype, Float32Array.of(77.25)));
  expect([...(await test.readWords(largest))]).toEqual([0, 0, bitsOf(wanted ?? 0), 0]);
});

it.each([
  [Number.POSITIVE_INFINITY, 0x7f800000],
  [Number.NaN, 0x7f800001],
])("says of %f that it is not finite", async (value, least) => {
  using buffer = await test.upload("values", Float32Array.of(1, value, -2, 3));
  using largest = await test.upload("largest", new Uint32Array(4));
  const shape = { rows: 1, columns: 4, stride: 4, dtype: "F32" } as const;
  await findLargestMagnitude(test.gpu, { ...shape, buffer }, largest, 0);
  expect((await test.readWords(largest))[0]).toBeGreaterThanOrEqual(least);
});
