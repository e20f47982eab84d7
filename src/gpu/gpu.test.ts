import { afterEach, expect, it, vi } from "vitest";
import { DeviceLostError } from "../errors.ts";
import { requestAdapter, requestDevice } from "./gpu.ts";

// Chromium's words where its process for the GPU has ended.
const gone = async () =>
  await Promise.reject(new Error("A valid external Instance reference no longer exists."));

afterEach(() => vi.unstubAllGlobals());

it("a GPU that goes away while it is opened was lost, so that the job opens another one", async () => {
  vi.stubGlobal("navigator", { gpu: { requestAdapter: gone } });
  await expect(requestAdapter()).rejects.toThrow(DeviceLostError);
  const adapter = { limits: {}, features: new Set(), requestDevice: gone } as unknown as GPUAdapter;
  await expect(requestDevice(adapter)).rejects.toThrow("The GPU was lost while it was being opened.");
});
