import { expect, it } from "vitest";
import type { AdapterSummary } from "../../gpu/device/adapter-summary.ts";
import { gpuSpeed, keepGpuSpeed } from "./gpu-speed.ts";

/** An adapter that nothing was measured of yet. */
const adapter = (software: boolean): AdapterSummary => ({
  vendor: "a vendor",
  architecture: "an architecture",
  description: crypto.randomUUID(),
  software,
  maxBufferBytes: 2 ** 28,
  maxBindingBytes: 2 ** 27,
  features: [],
  matrices: null,
});

it("assumes of a software adapter what its cores do, and much more of a GPU", async () => {
  const [software, hardware] = [await gpuSpeed(adapter(true)), await gpuSpeed(adapter(false))];
  expect([software.measured, hardware.measured]).toEqual([false, false]);
  expect(software.flopsPerSecond / navigator.hardwareConcurrency).toBe(8e8);
  expect(hardware.flopsPerSecond).toBeGreaterThan(100 * software.flopsPerSecond);
});

it("goes by what a layer showed that took long enough", async () => {
  const own = adapter(true);
  await keepGpuSpeed(own, 1e9, 0.5);
  expect((await gpuSpeed(own)).measured).toBe(false);
  await keepGpuSpeed(own, 12e9, 4);
  expect(await gpuSpeed(own)).toEqual({ flopsPerSecond: 3e9, measured: true });
});
