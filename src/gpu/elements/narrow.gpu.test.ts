import { describe, expect, it } from "vitest";
import { type FloatDtype, narrowFromFloat32 } from "../../formats/numbers/dtype.ts";
import { openTestGpu } from "../../testing/test-gpu/open-test-gpu.ts";
import { randomNormal, seededRandom } from "../../testing/random.ts";
import { narrow } from "./narrow.ts";

describe("narrow", () => {
  it.each<FloatDtype>(["BF16", "F16", "F32"])(
    "writes %s like the CPU, odd counts included",
    async (dtype) => {
      using test = await openTestGpu();
      const values = randomNormal(1001, seededRandom(1), 3);
      const expected = narrowFromFloat32(dtype, values);
      using source = await test.upload("values", values);
      using words = await test.empty("words", expected.byteLength);
      await narrow(test.gpu, source, words, 1001, dtype);
      expect(await test.readBytes(words, expected.byteLength)).toEqual(expected);
    },
  );
});
