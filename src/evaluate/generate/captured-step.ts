// One token after another by a captured session: the GPU's commands are recorded once, and each token but the first costs
// the processor a few small writes instead of a bind group and a write for every operator of every layer.

import type { Tensor } from "onnxruntime-web";
import { createLifetime, type Lifetime } from "../../disposal.ts";
import { invariant } from "../../errors.ts";
import type { DecoderDescription } from "../../model/decoder-description.ts";
import { canLookUp, HIDDEN_INPUT, IDS_INPUT, LOGITS_OUTPUT } from "../graph/decoder-graph.ts";
import type { Engine, OnloadedGraph } from "../runtime/engine.ts";
import { embedOne } from "../run-layer.ts";
import type { MeasuredDevice } from "../runtime/measured-device.ts";
import type { StoredModel } from "../weights/stored-model.ts";
import { planLinears } from "../weights/weight-values.ts";
import type { Caches } from "./caches.ts";
import { mixersOf } from "../graph/mixers/nodes-of.ts";
import { RUN_INPUTS } from "../graph/run-inputs.ts";

export interface CapturedStep extends Disposable {
  /** Logits after a token at `position`; the caches hold all before it. */
  next(id: number, position: number): Promise<Float32Array<ArrayBuffer>>;
}

/** Commands that change from token to token cannot be played again. */
export function canCapture(
  engine: Engine,
  { layers, tokenInputs }: DecoderDescription,
  maxTokens: number,
): boolean {
  if (engine.gpu === null || tokenInputs) return false;
  return mixersOf(layers).every((mixer) => mixer.isRecordable(maxTokens));
}

/** @throws DeviceLimitError if the little that it takes does not fit. */
export async function openCapturedStep(
  engine: Engine,
  model: StoredModel,
  graph: OnloadedGraph,
  caches: Caches,
): Promise<CapturedStep> {
  const { gpu } = engine;
  invariant(gpu, "there is a GPU");
  const { vocabSize } = model.description;
  const lifetime = createLifetime();
  try {
    const inputs = await placeInputs(engine, gpu, model, lifetime);
    const [logits] = await engine.outputTensors([{ label: "logits", dims: [1, vocabSize] }]);
    invariant(logits, "one tensor was wanted");
    lifetime.use(logits);
    const usage = GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST;
    const bytes = vocabSize * 4;
    const staging = lifetime.use(await gpu.memory.allocate({ label: "logits", bytes, usage }));
    const feeds = { ...inputs.feeds, ...caches.feeds() };
    const fetches = { [LOGITS_OUTPUT]: logits.tensor(), ...caches.fetches() };
    const run = await graph.capture();
    return {
      async next(id, position) {
        await inputs.write(id, position);
        await run(feeds, fetches);
        return await readBack(gpu.device, logits.tensor().gpuBuffer, staging.buffer);
      },
      [Symbol.dispose]: () => lifetime[Symbol.dispose](),
    };
  } catch (error) {
    lifetime[Symbol.dispose]();
    throw error;
  }
}

/** Tensors for what differs from token to token. */
async function placeInputs(
  engine: Engine,
  { memory, device }: MeasuredDevice,
  model: StoredModel,
  lifetime: Lifetime,
) {
  const { hiddenSize } = model.description;
  const isLookedUp = canLookUp(model.description, planLinears(model, engine.maxInputBytes));
  const place = async (label: string, bytes: number) =>
    lifetime.use(await memory.allocate({ label, bytes })).buffer;
  const token = isLookedUp ? await place("token", 4) : await place("hidden states", hiddenSize * 4);
  const [position, last] = [await place("position", 8), await place("last position", 4)];
  const total = await place("tokens", 4);
  const tensor = (buffer: GPUBuffer, dataType: "float32" | "int32" | "int64", dims: number[]): Tensor =>
    engine.runtime.Tensor.fromGpuBuffer(buffer, { dataType, dims });
  return {
    feeds: {
      ...(isLookedUp
        ? { [IDS_INPUT]: tensor(token, "int32", [1]) }
        : { [HIDDEN_INPUT]: tensor(token, "float32", [1, hiddenSize]) }),
      [RUN_INPUTS.position]: tensor(position, "int64", [1]),
      [RUN_INPUTS.lastPosition]: tensor(last, "int32", [1]),
      [RUN_INPUTS.total]: tensor(total, "int32", []),
    },
    async write(id: number, at: number) {
      device.queue.writeBuffer(token, 0, isLookedUp ? Int32Array.of(id) : await embedOne(model, [id]));
      device.queue.writeBuffer(position, 0, BigInt64Array.of(BigInt(at)));
      device.queue.writeBuffer(last, 0, Int32Array.of(at));
      device.queue.writeBuffer(total, 0, Int32Array.of(at + 1));
    },
  };
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
