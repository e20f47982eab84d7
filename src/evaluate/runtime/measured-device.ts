// A GPU device for onnxruntime that counts what is allocated on it, by us and by the runtime: its caches are in no ledger.

import type { DeviceLostError } from "../../errors.ts";
import { opened, requestAdapter, summarizeAdapter } from "../../gpu/gpu.ts";
import { GpuMemory } from "../../gpu/memory.ts";
import { deviceLoss } from "../../gpu/queue/watch-device.ts";

export interface MeasuredDevice extends Disposable {
  readonly device: GPUDevice;
  /** Buffers of ours: weights and caches. */
  readonly memory: GpuMemory;
  readonly maxBindingBytes: number;
  /** All buffers on the device, the runtime's too. */
  liveBytes(): number;
  peakBytes(): number;
  /** Resolves to the loss of the device if it is lost by now. */
  loss(): Promise<DeviceLostError | null>;
}

/**
 * Opens a device, or resolves to null where there is no GPU, or only one made of software: WebAssembly is faster than that.
 * Subgroups are not asked for: with those of four lanes, GroupQueryAttention is wrong (tried with onnxruntime-web 1.30).
 */
export async function openMeasuredDevice(
  budgetBytes: number,
  allowSoftware: boolean,
): Promise<MeasuredDevice | null> {
  const adapter = await requestAdapter().catch(() => null);
  if (!adapter || (summarizeAdapter(adapter).software && !allowSoftware)) return null;
  const { maxBufferSize, maxStorageBufferBindingSize } = adapter.limits;
  const { maxComputeWorkgroupStorageSize, maxComputeInvocationsPerWorkgroup } = adapter.limits;
  const { maxComputeWorkgroupSizeX, maxStorageBuffersPerShaderStage } = adapter.limits;
  const asked = {
    label: "layerpress evaluation",
    requiredLimits: {
      maxBufferSize,
      maxStorageBufferBindingSize,
      maxComputeWorkgroupStorageSize,
      maxComputeInvocationsPerWorkgroup,
      maxComputeWorkgroupSizeX,
      maxStorageBuffersPerShaderStage,
    },
  };
  const device = await opened(adapter.requestDevice(asked));
  let loss: DeviceLostError | null = null;
  void device.lost.then((info) => (loss = deviceLoss(info)));
  const count = countBuffers(device);
  return {
    device,
    memory: new GpuMemory(device, budgetBytes),
    maxBindingBytes: maxStorageBufferBindingSize,
    liveBytes: () => count.live,
    peakBytes: () => count.peak,
    async loss() {
      // It is told behind the calls that fail of it: by then it has been.
      await device.queue.onSubmittedWorkDone().catch(() => undefined);
      return loss;
    },
    [Symbol.dispose]: () => device.destroy(),
  };
}

interface BufferCount {
  live: number;
  peak: number;
}

/** Wraps the device's own createBuffer, and destroy of what it makes. */
function countBuffers(device: GPUDevice): BufferCount {
  const count: BufferCount = { live: 0, peak: 0 };
  const create = device.createBuffer.bind(device);
  device.createBuffer = (descriptor) => {
    const buffer = create(descriptor);
    count.live += descriptor.size;
    count.peak = Math.max(count.peak, count.live);
    const destroy = buffer.destroy.bind(buffer);
    let isLive = true;
    buffer.destroy = () => {
      if (isLive) count.live -= descriptor.size;
      isLive = false;
      return destroy();
    };
    return buffer;
  };
  return count;
}
