import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { relativeError } from "../../../testing/fixtures/architecture-fixture.ts";
import { openTestGpu, type TestGpu } from "../../../testing/test-gpu/open-test-gpu.ts";
import { randomNormal, seededRandom } from "../../../testing/random.ts";
import { addBias } from "./add-bias.ts";
import { referenceAddBias } from "./reference.ts";

let test: TestGpu;
beforeAll(async () => {
  test = await openTestGpu();
});
afterAll(() => test[Symbol.dispose]());

describe("adding a bias", () => {
  it.each([
    [1, { first: 0, step: 1 }],
    [-0.25, { first: 3, step: 2 }],
  ])("changes the columns it is for and no other, scale %d, from %o", async (scale, place) => {
    const [rows, columns, stride, offset] = [11, 24, 40, 8];
    const random = seededRandom(4);
    const before = randomNormal(rows * stride, random);
    const stored = randomNormal(place.first + columns * place.step, random);
    const values = Float32Array.from(
      { length: columns },
      (_, column) => stored[place.first + column * place.step] ?? 0,
    );
    using y = await test.upload("y", before);
    using bias = await test.upload("bias", stored);
    await addBias(test.gpu, { buffer: y, rows, columns, stride, offset }, bias, scale, place);
    const result = await test.readFloats(y);
    const inside = (_: number, index: number) =>
      index % stride >= offset && index % stride < offset + columns;
    const expected = referenceAddBias(before.filter(inside), values, scale);
    expect(relativeError(result.filter(inside), expected)).toBeLessThan(1e-6);
    const outside = (value: number, index: number) => !inside(value, index);
    expect(result.filter(outside)).toEqual(before.filter(outside));
  });
});
