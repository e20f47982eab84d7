// One token after another by a captured session: the GPU's commands are recorded once, and each token but the first costs
// the processor a few small writes instead of a bind group and a write for every operator of every layer.

import type { Tensor } from "onnxruntime-web";
import { createLifetime } from "../../disposal.ts";
import { invariant } from "../../errors.ts";
import type { DecoderDescription } from "../../model/decoder-description.ts";
import { RUN_INPUTS } from "../graph/attention-nodes.ts";
import { HIDDEN_INPUT, LOGITS_OUTPUT } from "../graph/decoder-graph.ts";
import type { Engine, OnloadedGraph } from "../runtime/engine.ts";
import type { Caches } from "./caches.ts";

export interface CapturedStep extends Disposable {
  /** Logits after a token with these hidden states at `position`; the caches hold all before it. */
  next(hidden: Float32Array<ArrayBuffer>, position: number): Promise<Float32Array<ArrayBuffer>>;
}

/** A sliding window that is exceeded changes the commands, so that they cannot be played again. */
export function canCapture(engine: Engine, { layers }: DecoderDescription, maxTokens: number): boolean {
  const isPlain = layers.every(
    ({ attention: { slidingWindow } }) => slidingWindow === null || slidingWindow >= maxTokens,
  );
  return engine.gpu !== null && isPlain;
}

/** @throws DeviceLimitError if the little that it takes does not fit. */
export async function openCapturedStep(
  engine: Engine,
  { hiddenSize, vocabSize }: DecoderDescription,
  graph: OnloadedGraph,
  caches: Caches,
): Promise<CapturedStep> {
  const { gpu, runtime } = engine;
  invariant(gpu, "there is a GPU");
  const lifetime = createLifetime();
  const { memory, device } = gpu;
  const place = async (label: string, bytes: number) =>
    lifetime.use(await memory.allocate({ label, bytes })).buffer;
  try {
    const [hidden, position] = [await place("hidden states", hiddenSize * 4), await place("position", 8)];
    const [last, total] = [await place("last position", 4), await place("tokens", 4)];
    const logits = lifetime.use(await engine.outputTensor("logits", [1, vocabSize]));
    const usage = GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST;
    const staging = lifetime.use(
      await memory.allocate({ label: "logits", bytes: vocabSize * 4, usage }),
    ).buffer;
    const tensor = (buffer: GPUBuffer, dataType: "float32" | "int32" | "int64", dims: number[]): Tensor =>
      runtime.Tensor.fromGpuBuffer(buffer, { dataType, dims });
    const feeds = {
      [HIDDEN_INPUT]: tensor(hidden, "float32", [1, hiddenSize]),
      [RUN_INPUTS.position]: tensor(position, "int64", [1]),
      [RUN_INPUTS.lastPosition]: tensor(last, "int32", [1]),
      [RUN_INPUTS.total]: tensor(total, "int32", []),
      ...caches.feeds(),
    };
    const fetches = { [LOGITS_OUTPUT]: logits.tensor, ...caches.fetches() };
    const run = await graph.capture();
    return {
      async next(states, at) {
        device.queue.writeBuffer(hidden, 0, states);
        device.queue.writeBuffer(position, 0, BigInt64Array.of(BigInt(at)));
        device.queue.writeBuffer(last, 0, Int32Array.of(at));
        device.queue.writeBuffer(total, 0, Int32Array.of(at + 1));
        await run(feeds, fetches);
        return await readBack(device, logits.tensor.gpuBuffer, staging);
      },
      [Symbol.dispose]: () => lifetime[Symbol.dispose](),
    };
  } catch (error) {
    lifetime[Symbol.dispose]();
    throw error;
  }
}

async function readBack(
  device: GPUDevice,
  from: GPUBuffer,
  staging: GPUBuffer,
): Promise<Float32Array<ArrayBuffer>> {
  const encoder = device.createCommandEncoder();
  encoder.copyBufferToBuffer(from, 0, staging, 0, staging.size);
  device.queue.submit([encoder.finish()]);
  await staging.mapAsync(GPUMapMode.READ);
  const values = new Float32Array(staging.getMappedRange().slice(0));
  staging.unmap();
  return values;
}
