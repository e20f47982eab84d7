// Tensors that live on the GPU, or in memory where there is none.

import type { InferenceSession, Tensor } from "onnxruntime-web";
import { invariant } from "../../errors.ts";
import type { GpuMemory } from "../../gpu/memory.ts";
import { createGraph, type OnnxGraph } from "../graph/onnx-graph.ts";
import type { Runtime } from "./load-runtime.ts";
import type { MeasuredDevice } from "./measured-device.ts";
import { type PlacedValues, type WeightShape, widenHalves } from "../weights/weight-values.ts";
import { runSession, type Sessions } from "./sessions.ts";
import { createWidener, wholeWords } from "./widen-halves.ts";

export interface EngineTensor extends Disposable {
  readonly tensor: Tensor;
}

export interface ReservedTensor extends EngineTensor {
  /** Its values; in memory there is no tensor before. */
  write(data: PlacedValues): Promise<void>;
}

export interface TensorFactory {
  /** Values that the next run takes along; nothing is placed on the GPU yet. */
  floats(data: Float32Array, dims: readonly number[]): Tensor;
  /**
   * Room for values that come later.
   * @throws DeviceLimitError if they do not fit
   */
  reserve(label: string, shape: WeightShape): Promise<ReservedTensor>;
  /** @throws DeviceLimitError if they do not fit */
  zeros(label: string, dims: readonly number[]): Promise<EngineTensor>;
  /**
   * Zeros on the GPU that may be outputs of a captured session. onnxruntime-web 1.30 forgets buffers of ours after each
   * run, which such a session does not survive; buffers of its own it keeps.
   * @throws DeviceLimitError if they do not fit
   */
  outputTensors(wanted: readonly WantedTensor[]): Promise<EngineTensor[]>;
}

export interface WantedTensor {
  readonly label: string;
  readonly dims: readonly number[];
}

export function createTensorFactory(
  runtime: Runtime,
  gpu: MeasuredDevice | null,
  sessions: Sessions,
): TensorFactory {
  const floats: TensorFactory["floats"] = (data, dims) => new runtime.Tensor("float32", data, dims);
  if (gpu) return { ...gpuTensors(runtime, gpu, sessions), floats };
  const hold = (tensor: Tensor) => ({ tensor, [Symbol.dispose]: () => tensor.dispose() });
  const zeros: TensorFactory["zeros"] = async (_, dims) =>
    await Promise.resolve(hold(floats(new Float32Array(sizeOf(dims)), dims)));
  return {
    floats,
    reserve: async (label, shape) => await Promise.resolve(reserveInMemory(runtime, label, shape)),
    zeros,
    outputTensors: async (wanted) =>
      await Promise.all(wanted.map(async ({ label, dims }) => await zeros(label, dims))),
  };
}

function reserveInMemory(runtime: Runtime, label: string, { dims }: WeightShape): ReservedTensor {
  let tensor: Tensor | null = null;
  return {
    get tensor() {
      invariant(tensor, `${label} has values`);
      return tensor;
    },
    async write(data) {
      const values = data instanceof Uint16Array ? widenHalves(data) : data;
      tensor =
        values instanceof Float32Array
          ? new runtime.Tensor("float32", values, dims)
          : new runtime.Tensor("uint8", values, dims);
      await Promise.resolve();
    },
    [Symbol.dispose]: () => tensor?.dispose(),
  };
}

function gpuTensors(runtime: Runtime, { memory, device }: MeasuredDevice, sessions: Sessions) {
  const place = async (label: string, dataType: "float32" | "uint8", dims: readonly number[]) => {
    const bytes = sizeOf(dims) * (dataType === "float32" ? 4 : 1);
    const placed = await memory.allocate({ label, bytes });
    const tensor: Tensor = runtime.Tensor.fromGpuBuffer(placed.buffer, { dataType, dims });
    return { tensor, buffer: placed.buffer, [Symbol.dispose]: () => placed[Symbol.dispose]() };
  };
  const widen = createWidener(device, memory);
  return {
    async reserve(label: string, { dims, dataType }: WeightShape): Promise<ReservedTensor> {
      const placed = await place(label, dataType, dims);
      return {
        ...placed,
        async write(data) {
          if (data instanceof Uint16Array) await widen(data, placed.buffer);
          else device.queue.writeBuffer(placed.buffer, 0, wholeWords(data));
        },
      };
    },
    zeros: async (label: string, dims: readonly number[]) => await place(label, "float32", dims),
    outputTensors: async (wanted: readonly WantedTensor[]) =>
      await runtimeTensors(runtime, memory, sessions, wanted),
  };
}

/** Zeros that the runtime makes; it asks nobody, so that what does not fit is refused before. */
async function runtimeTensors(
  runtime: Runtime,
  memory: GpuMemory,
  sessions: Sessions,
  wanted: readonly WantedTensor[],
): Promise<EngineTensor[]> {
  const rooms = wanted.map(({ label, dims }) => ({ label, bytes: sizeOf(dims) * 4 }));
  for (const room of await memory.allocateAll(rooms)) room[Symbol.dispose]();
  const shapes = new Map(wanted.map(({ dims }) => [dims.join(), dims]));
  const opened = new Map<string, InferenceSession>();
  for (const [key, dims] of shapes) {
    opened.set(key, await sessions.open(zerosGraph(dims), "outputs on the GPU"));
  }
  const made: EngineTensor[] = [];
  try {
    for (const { label, dims } of wanted) {
      const session = opened.get(dims.join());
      invariant(session, "each shape has a session");
      const { [ZEROS]: tensor } = await runSession(session, { [ZERO]: floatsOf(runtime, 1) });
      invariant(tensor, "zeros were made");
      const adopted = memory.adopt(label, tensor.gpuBuffer);
      made.push({
        tensor,
        [Symbol.dispose]() {
          tensor.dispose();
          adopted[Symbol.dispose]();
        },
      });
    }
    return made;
  } catch (error) {
    for (const each of made) each[Symbol.dispose]();
    throw error;
  }
}

const ZERO = "zero";
const ZEROS = "zeros";

function zerosGraph(dims: readonly number[]): OnnxGraph {
  const graph = createGraph("zeros");
  const zero = graph.input(ZERO, "float32", [1]);
  graph.output(ZEROS, "float32", dims, graph.node("Expand", [zero, graph.integers(dims)]));
  return graph;
}

function floatsOf(runtime: Runtime, count: number): Tensor {
  return new runtime.Tensor("float32", new Float32Array(count), [count]);
}

function sizeOf(dims: readonly number[]): number {
  return dims.reduce((product, size) => product * size, 1);
}
