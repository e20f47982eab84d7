import { describe, expect, it } from "vitest";
import { narrowFromFloat32, widenToFloat32 } from "../../formats/numbers/dtype.ts";
import { openTestGpu } from "../../testing/test-gpu/open-test-gpu.ts";
import { randomNormal, seededRandom } from "../../testing/random.ts";
import { widenBf16 } from "./widen.ts";

describe("widenBf16", () => {
  it("gives the CPU's bits, odd counts included", async () => {
    using test = await openTestGpu();
    const narrowed = narrowFromFloat32("BF16", randomNormal(1001, seededRandom(1), 3));
    const words = new Uint8Array(1002 * 2);
    words.set(narrowed);
    using source = await test.upload("words", words);
    using values = await test.empty("values", 1001 * 4);
    await widenBf16(test.gpu, source, values, 1001);
    expect(await test.readFloats(values)).toEqual(widenToFloat32("BF16", narrowed));
  });
});
