import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { DeviceLostError } from "../errors.ts";
import { kernel, PipelineCache } from "./kernel.ts";
import { struct } from "./struct.ts";

const some = kernel({ name: "test.some", code: [""], params: struct({ count: "u32" }), bindings: {} });

beforeEach(() => vi.stubGlobal("GPUShaderStage", { COMPUTE: 4 }));
afterEach(() => vi.unstubAllGlobals());

/** Compiles on a device that answers with such an error. */
async function compiled(error: Error): Promise<unknown> {
  const device = {
    limits: { maxStorageBuffersPerShaderStage: 8 },
    createBindGroupLayout: () => ({}),
    createPipelineLayout: () => ({}),
    createShaderModule: () => ({}),
    createComputePipelineAsync: vi.fn<() => Promise<never>>().mockRejectedValue(error),
  };
  return await new PipelineCache(device as unknown as GPUDevice).get(some);
}

it("what goes wrong while a valid program is compiled is a lost GPU, so that the job opens another one", async () => {
  const error = new Error("A valid external Instance\nreference no longer exists.");
  await expect(compiled(error)).rejects.toThrow(DeviceLostError);
  await expect(compiled(error)).rejects.toThrow(
    "while test.some was being compiled: A valid external Instance reference no longer exists.",
  );
  await expect(compiled(Object.assign(error, { reason: "internal" }))).rejects.toThrow(DeviceLostError);
});

it("a program that is not valid is told as it is", async () => {
  const error = Object.assign(new Error("unresolved value"), { reason: "validation" });
  await expect(compiled(error)).rejects.toBe(error);
});
