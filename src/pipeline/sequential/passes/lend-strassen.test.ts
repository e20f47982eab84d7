import { expect, it } from "vitest";
import { DeviceLimitError } from "../../../errors.ts";
import { GpuMemory } from "../../../gpu/memory.ts";
import type { StrassenPlace } from "../../../gpu/matmul/strassen/open-strassen.ts";
import { strassenRequests } from "../../../gpu/matmul/strassen/strassen-size.ts";
import { provideBrowserGlobals } from "../../../testing/stand-ins/browser-globals.ts";
import { createStubGpu } from "../../../testing/stand-ins/stub-gpu.ts";
import { lendToPropagate } from "./lend-strassen.ts";

type Services = Parameters<typeof lendToPropagate>[0];

it("gives back what it had when it cannot have the rest", async () => {
  provideBrowserGlobals();
  const size = { m: 256, n: 256, k: 32 };
  const place: StrassenPlace = { largest: size, chunk: size, stays: false };
  const products = strassenRequests(place).reduce((sum, request) => sum + request.bytes, 0);
  const device = await createStubGpu({}).adapter().requestDevice();
  const memory = new GpuMemory(device, products + 1000);
  const tuning = { lentStrassen: place, strassen: null };
  const plan = { strassen: { scratch: { bytes: 2000, mlpTokens: 8 } } };
  const services = { gpu: { memory, tuning }, plan, workspace: {} } as unknown as Services;

  await expect(lendToPropagate(services)).rejects.toThrow(DeviceLimitError);

  expect(memory.peakBytes).toBe(products);
  expect([memory.bytes, tuning.strassen]).toEqual([0, null]);
});
