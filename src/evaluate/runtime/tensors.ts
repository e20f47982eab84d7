// Tensors that live on the GPU, or in memory where there is none.

import type { Tensor } from "onnxruntime-web";
import { invariant } from "../../errors.ts";
import type { GpuMemory, LedgerBuffer } from "../../gpu/memory.ts";
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
   * Room for values that come later, for all or for none: the GPU is asked once.
   * @throws DeviceLimitError if they do not fit
   */
  reserve(wanted: readonly WantedRoom[]): Promise<ReservedTensor[]>;
  /** @throws DeviceLimitError if they do not fit */
  zeros(label: string, dims: readonly number[]): Promise<EngineTensor>;
  /**
   * Zeros on the GPU that may be outputs of a captured session. onnxruntime-web 1.30 forgets buffers of ours after each
   * run, which such a session does not survive; buffers of its own it keeps.
   * @throws DeviceLimitError if they do not fit
   */
  outputTensors(wanted: readonly WantedTensor[]): Promise<EngineTensor[]>;
}

export interface WantedRoom {
  readonly label: string;
  readonly shape: WeightShape;
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
    reserve: async (wanted) => await Promise.resolve(wanted.map((each) => reserveInMemory(runtime, each))),
    zeros,
    outputTensors: async (wanted) =>
      await Promise.all(wanted.map(async ({ label, dims }) => await zeros(label, dims))),
  };
}

function reserveInMemory(runtime: Runtime, { label, shape: { dims } }: WantedRoom): ReservedTensor {
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
  const requestOf = ({ label, shape: { dims, dataType } }: WantedRoom) => ({
    label,
    bytes: sizeOf(dims) * (dataType === "float32" ? 4 : 1),
  });
  const placedIn = (placed: LedgerBuffer, { dims, dataType }: WeightShape) => {
    const tensor: Tensor = runtime.Tensor.fromGpuBuffer(placed.buffer, { dataType, dims });
    return { tensor, [Symbol.dispose]: () => placed[Symbol.dispose]() };
  };
  const widen = createWidener(device, memory);
  const reserved = (placed: LedgerBuffer, shape: WeightShape): ReservedTensor => ({
    ...placedIn(placed, shape),
    async write(data) {
      if (data instanceof Uint16Array) await widen(data, placed.buffer);
      else device.queue.writeBuffer(placed.buffer, 0, wholeWords(data));
    },
  });
  return {
    async reserve(wanted: readonly WantedRoom[]) {
      const placed = await memory.allocateAll(wanted.map(requestOf));
      return wanted.flatMap(({ shape }, index) => {
        const own = placed[index];
        return own ? [reserved(own, shape)] : [];
      });
    },
    async zeros(label: string, dims: readonly number[]) {
      const shape = { dims, dataType: "float32" } as const;
      return placedIn(await memory.allocate(requestOf({ label, shape })), shape);
    },
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
  const session = await sessions.open(zerosGraph(wanted), "outputs on the GPU");
  const zero = floatsOf(runtime, 1);
  const outputs = await runSession(session, Object.fromEntries(wanted.map((_, at) => [zeroName(at), zero])));
  const made: EngineTensor[] = [];
  try {
    for (const [at, { label }] of wanted.entries()) {
      const tensor = outputs[zerosName(at)];
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
    for (const tensor of Object.values(outputs)) tensor.dispose();
    for (const each of made) each[Symbol.dispose]();
    throw error;
  }
}

const zeroName = (at: number) => `zero.${at}`;
const zerosName = (at: number) => `zeros.${at}`;

/** All at once: a run costs about as much as a tensor of it. Each has an input of its own, so that no two become one. */
function zerosGraph(wanted: readonly WantedTensor[]): OnnxGraph {
  const graph = createGraph("zeros");
  for (const [at, { dims }] of wanted.entries()) {
    const zero = graph.input(zeroName(at), "float32", [1]);
    graph.output(zerosName(at), "float32", dims, graph.node("Expand", [zero, graph.integers(dims)]));
  }
  return graph;
}

function floatsOf(runtime: Runtime, count: number): Tensor {
  return new runtime.Tensor("float32", new Float32Array(count), [count]);
}

function sizeOf(dims: readonly number[]): number {
  return dims.reduce((product, size) => product * size, 1);
}
