import { afterEach, expect, it } from "vitest";
import { openTestGpu } from "../../../testing/test-gpu/open-test-gpu.ts";
import { forgetTuning } from "../../device/tuning-store.ts";
import { isStrassenFaster } from "./tune-strassen.ts";

afterEach(forgetTuning);

/** A visit with some adapter on which they are faster or not, in a budget; tells what was chosen and how often it was measured. */
async function visitWithStrassen(vendor: string, faster: boolean, budgetBytes = 1024 ** 3) {
  using test = await openTestGpu(budgetBytes);
  const gpu = { ...test.gpu, adapter: { ...test.gpu.adapter, vendor, software: false } };
  gpu.tuning.largeProducts = true;
  let measured = 0;
  const found = await isStrassenFaster(gpu, async () => {
    measured++;
    return await Promise.resolve(faster);
  });
  return [found, measured];
}

it("measures Strassen's products once an adapter, where there is room", async () => {
  expect(await visitWithStrassen("one", true, 256 * 1024 ** 2)).toEqual([false, 0]);
  expect(await visitWithStrassen("one", true)).toEqual([true, 1]);
  expect(await visitWithStrassen("one", false)).toEqual([true, 0]);
});
