import { describe, expect, it } from "vitest";
import { narrowFromFloat32, widenToFloat32 } from "../../formats/numbers/dtype.ts";
import { openTestGpu } from "../../testing/test-gpu/open-test-gpu.ts";
import { randomNormal, seededRandom } from "../../testing/random.ts";
import { widenRows } from "./widen-rows.ts";

const ROWS = 7;
const COLUMNS = 86;

describe("widenRows", () => {
  it.each([1, 2.5])("gives the bits of the table's rows times %d, in any order and again", async (factor) => {
    using test = await openTestGpu();
    const narrowed = narrowFromFloat32("BF16", randomNormal(ROWS * COLUMNS, seededRandom(1), 3));
    const order = Uint32Array.from([6, 0, 3, 3, 5]);
    using table = await test.upload("table", narrowed);
    using places = await test.upload("places", order);
    using values = await test.empty("values", order.length * COLUMNS * 4);
    await widenRows(test.gpu, { table, places }, values, { count: order.length, columns: COLUMNS }, factor);
    const wide = widenToFloat32("BF16", narrowed).map((value) => value * factor);
    const expected = [...order].flatMap((row) => [...wide.subarray(row * COLUMNS, (row + 1) * COLUMNS)]);
    expect([...(await test.readFloats(values))]).toEqual(expected);
  });
});
