import { afterAll, beforeAll, expect, it } from "vitest";
import { openTestGpu, type TestGpu } from "../../../testing/test-gpu/open-test-gpu.ts";
import { randomNormal, seededRandom } from "../../../testing/random.ts";
import { copyColumns } from "./copy-columns.ts";
import { referenceCopy } from "./reference.ts";

let test: TestGpu;
beforeAll(async () => {
  test = await openTestGpu();
});
afterAll(() => test[Symbol.dispose]());

const ROWS = 11;
const FROM = { stride: 28, offset: 4 };
const TO = { rows: ROWS, columns: 20, stride: 36, offset: 8 };

it.each([
  ["in order", null],
  ["by an index", [3, 3, 0, 10, 7, 1, 2, 9, 9, 5, 4]],
])("takes columns of rows %s, and leaves the others", async (_name, rows) => {
  const random = seededRandom(5);
  const [x, y] = [randomNormal(ROWS * FROM.stride, random), randomNormal(ROWS * TO.stride, random)];
  using source = await test.upload("x", x);
  using target = await test.upload("y", y);
  using index = rows ? await test.upload("index", Uint32Array.of(8, ...rows)) : null;
  const entries = index && { buffer: index, first: 1 };
  await copyColumns(test.gpu, { ...FROM, buffer: source }, { ...TO, buffer: target }, entries);
  expect(await test.readFloats(target)).toEqual(referenceCopy(x, FROM, y, TO, rows));
});
