import { afterEach, expect, it } from "vitest";
import { openTestGpu } from "../../testing/open-test-gpu.ts";
import { forgetTuning } from "../tuning-store.ts";
import { tuneMatmul } from "./tune-matmul.ts";

afterEach(forgetTuning);

/** A visit with some adapter on which large tiles are faster; tells what was chosen and how often it was measured. */
async function visit(vendor: string, software = false) {
  using test = await openTestGpu();
  const gpu = { ...test.gpu, adapter: { ...test.gpu.adapter, vendor, software } };
  let measured = 0;
  await tuneMatmul(gpu, async () => {
    measured++;
    return await Promise.resolve(true);
  });
  return [gpu.tuning.largeProducts, measured];
}

it("measures an adapter once, and again after it was forgotten", async () => {
  expect(await visit("one")).toEqual([true, 1]);
  expect(await visit("one")).toEqual([true, 0]);
  expect(await visit("another")).toEqual([true, 1]);
  await forgetTuning();
  expect(await visit("one")).toEqual([true, 1]);
});

it("leaves a software adapter with the small tile", async () => {
  expect(await visit("one", true)).toEqual([false, 0]);
});
