// One GPU device with its ledger and its paced queue. An adapter gives one device only: recovery asks for a new adapter.

import type { AdapterSummary } from "./device/adapter-summary.ts";
import { openTogether } from "../disposal.ts";
import { DeviceLimitError, lostWhile } from "../errors.ts";
import { findMatrixShape, MATRIX_FEATURE } from "./matmul/matrix-shape.ts";
import { GpuMemory } from "./memory.ts";
import { PacedQueue } from "./queue/paced-queue.ts";
import type { Tuning } from "./device/tuning.ts";

/** Limits that are asked for at what the adapter has; the default device has only the specification's minimum. */
const WANTED_LIMITS = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
  "maxComputeWorkgroupSizeY",
  "maxStorageBuffersPerShaderStage",
] as const;
/** The last one is experimental, and in no list of names yet. */
const WANTED_FEATURES = [
  "timestamp-query",
  "subgroups",
  "shader-f16",
  MATRIX_FEATURE,
] as readonly GPUFeatureName[];

export interface Gpu extends Disposable {
  readonly device: GPUDevice;
  readonly adapter: AdapterSummary;
  readonly memory: GpuMemory;
  readonly queue: PacedQueue;
  /** What was measured of this GPU; the start suits any. */
  readonly tuning: Tuning;
}

/**
 * Asks the browser for its fastest adapter.
 * @throws DeviceLimitError if the browser has no WebGPU, or the machine no adapter for it; DeviceLostError
 */
export async function requestAdapter(): Promise<GPUAdapter> {
  // TypeScript's library takes WebGPU for granted; browsers do not.
  const gpu = (navigator as { readonly gpu?: GPU }).gpu;
  if (!gpu) {
    throw new DeviceLimitError(
      "This browser has no WebGPU. Use Chrome or Edge 121 or newer, Firefox 141 or newer on Windows or Apple silicon, or Safari 26; the page must come from https or localhost.",
    );
  }
  const adapter = await opened(gpu.requestAdapter({ powerPreference: "high-performance" }));
  if (!adapter) {
    throw new DeviceLimitError(
      "The browser has WebGPU but offers no graphics adapter: the GPU may be blocklisted, its driver too old, or hardware acceleration switched off in the browser's settings.",
    );
  }
  return adapter;
}

export function summarizeAdapter(adapter: GPUAdapter): AdapterSummary {
  const { info, limits, features } = adapter;
  return {
    vendor: info.vendor,
    architecture: info.architecture,
    description: info.description,
    software: info.isFallbackAdapter || info.architecture === "swiftshader",
    maxBufferBytes: limits.maxBufferSize,
    maxBindingBytes: limits.maxStorageBufferBindingSize,
    features: [...features],
    matrices: findMatrixShape(adapter),
  };
}

/** Opens a device with the adapter's limits and a ledger of `budgetBytes`. */
export async function openGpu(budgetBytes: number): Promise<Gpu> {
  const adapter = await requestAdapter();
  return await openTogether(async (parts) => {
    const device = await requestDevice(adapter);
    parts.use({ [Symbol.dispose]: () => device.destroy() });
    return parts.use(await createGpu(device, summarizeAdapter(adapter), budgetBytes));
  });
}

/** A device with the adapter's limits and the features that kernels may use. @throws DeviceLostError */
export async function requestDevice(adapter: GPUAdapter): Promise<GPUDevice> {
  const requiredLimits = Object.fromEntries(WANTED_LIMITS.map((name) => [name, adapter.limits[name]]));
  const requiredFeatures = WANTED_FEATURES.filter((name) => adapter.features.has(name));
  return await opened(adapter.requestDevice({ label: "layerpress", requiredLimits, requiredFeatures }));
}

/** What browsers answer in words of their own where their process for the GPU ends meanwhile. */
export async function opened<T>(answer: Promise<T>): Promise<T> {
  return await answer.catch((cause: unknown) => {
    throw lostWhile("it was being opened", cause);
  });
}

/** A ledger of `budgetBytes` and a queue on a device; disposing of them leaves the device to whoever opened it. */
export async function createGpu(
  device: GPUDevice,
  adapter: AdapterSummary,
  budgetBytes: number,
): Promise<Gpu> {
  const memory = new GpuMemory(device, budgetBytes);
  const queue = await PacedQueue.create(device, memory);
  return {
    device,
    adapter,
    memory,
    queue,
    tuning: {
      largeProducts: false,
      largeFrom: 1,
      matrices: null,
      strassen: null,
      lentStrassen: null,
    },
    [Symbol.dispose]: () => queue[Symbol.dispose](),
  };
}
