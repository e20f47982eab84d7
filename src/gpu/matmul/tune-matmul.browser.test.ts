import { afterEach, expect, it } from "vitest";
import { openTestGpu } from "../../testing/test-gpu/open-test-gpu.ts";
import { forgetTuning } from "../device/tuning-store.ts";
import { createMatrixUnits } from "./matmul-halves.ts";
import { chooseTile } from "./matmul.ts";
import { areMatricesFaster, isWideFaster, tuneMatmul } from "./tune-matmul.ts";

afterEach(forgetTuning);

/** A visit with some adapter on which many large tiles are faster, and few are not; tells what was chosen and how often it was measured. */
async function visit(vendor: string, software = false) {
  using test = await openTestGpu();
  const gpu = { ...test.gpu, adapter: { ...test.gpu.adapter, vendor, software } };
  let measured = 0;
  const finds = (isFaster: boolean) => async () => {
    measured++;
    return await Promise.resolve(isFaster);
  };
  await tuneMatmul(gpu, { many: finds(true), few: finds(false) });
  return [chooseTile(gpu, 4096, 4096), chooseTile(gpu, 1024, 768), measured];
}

it("measures an adapter once, and again after it was forgotten", async () => {
  expect(await visit("one")).toEqual(["large", "small", 2]);
  expect(await visit("one")).toEqual(["large", "small", 0]);
  expect(await visit("another")).toEqual(["large", "small", 2]);
  await forgetTuning();
  expect(await visit("one")).toEqual(["large", "small", 2]);
});

it("has products on a software adapter go without workgroup memory", async () => {
  expect(await visit("one", true)).toEqual(["direct", "direct", 0]);
});

/** The same for matrix units that are faster or not. */
async function visitWithMatrices(vendor: string, faster: boolean) {
  using test = await openTestGpu();
  using largest = await test.empty("largest magnitudes", 128);
  const gpu = { ...test.gpu, adapter: { ...test.gpu.adapter, vendor, software: false } };
  const units = createMatrixUnits({ m: 16, n: 16, k: 16, subgroup: 32 }, largest);
  let measured = 0;
  const measure = async () => {
    measured++;
    return await Promise.resolve(faster);
  };
  const found = [await areMatricesFaster(gpu, units, measure), await isWideFaster(gpu, units, measure)];
  return [...found, measured];
}

it("measures matrix units and their wide tiles once an adapter, apart from other tiles", async () => {
  await visit("one");
  expect(await visitWithMatrices("one", false)).toEqual([false, false, 2]);
  expect(await visitWithMatrices("one", true)).toEqual([false, false, 0]);
  expect(await visitWithMatrices("another", true)).toEqual([true, true, 2]);
  expect(await visit("one")).toEqual(["large", "small", 0]);
});
