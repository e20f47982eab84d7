// Tensors that live on the GPU, or in memory where there is none.

import type { Tensor } from "onnxruntime-web";
import { invariant } from "../../errors.ts";
import type { BufferRequest, GpuMemory, LedgerBuffer } from "../../gpu/memory.ts";
import { createGraph, type OnnxGraph } from "../graph/onnx-graph.ts";
import type { Runtime } from "./load-runtime.ts";
import type { MeasuredDevice } from "./measured-device.ts";
import { type PlacedValues, type WeightShape, widenHalves } from "../weights/weight-values.ts";
import { runSession, type Sessions } from "./sessions.ts";
import { waitLater } from "../../wait-later.ts";
import { openWeightWriter } from "./weight-writer.ts";

export interface EngineTensor extends Disposable {
  readonly tensor: () => Tensor;
}

export interface ReservedTensor extends EngineTensor {
  /** Its values, or some of them, which begin so many bytes behind its start; in memory there is no tensor before. */
  write(data: PlacedValues, offset: number): Promise<void>;
}

export interface TensorFactory {
  /** Values that the next run takes along; nothing is placed on the GPU yet. */
  floats(data: Float32Array, dims: readonly number[]): Tensor;
  /**
   * Room for values that come later, for all or for none: the GPU is asked once.
   * @throws DeviceLimitError if they do not fit
   */
  reserve(wanted: readonly WantedRoom[]): Promise<Rooms>;
  /** @throws DeviceLimitError if they do not fit */
  zeros(label: string, dims: readonly number[]): Promise<EngineTensor>;
  /**
   * Zeros on the GPU that may be outputs of a captured session. onnxruntime-web 1.30 forgets buffers of ours after each
   * run, which such a session does not survive; buffers of its own it keeps.
   * @throws DeviceLimitError if they do not fit
   */
  outputTensors(wanted: readonly WantedTensor[]): Promise<EngineTensor[]>;
}

export interface Rooms {
  /** In the order in which they were wanted. */
  readonly tensors: readonly ReservedTensor[];
  /** Resolves when all that was written is given to the GPU; nothing may be written after that. */
  readonly settle: () => Promise<void>;
}

export interface WantedRoom {
  readonly label: string;
  readonly shape: WeightShape;
}

export interface WantedTensor {
  readonly label: string;
  readonly dims: readonly number[];
}

/** @param runtime gives it once it is there: rooms may be made, and written to, before */
export function createTensorFactory(
  runtime: () => Runtime,
  gpu: MeasuredDevice | null,
  sessions: Sessions,
): TensorFactory {
  const floats: TensorFactory["floats"] = (data, dims) => {
    const { Tensor } = runtime();
    return new Tensor("float32", data, dims);
  };
  if (gpu) return { ...gpuTensors(runtime, gpu, sessions), floats };
  const hold = (tensor: Tensor) => ({ tensor: () => tensor, [Symbol.dispose]: () => tensor.dispose() });
  const zeros: TensorFactory["zeros"] = async (_, dims) =>
    await Promise.resolve(hold(floats(new Float32Array(sizeOf(dims)), dims)));
  return {
    floats,
    reserve: async (wanted) =>
      await Promise.resolve({
        tensors: wanted.map((each) => reserveInMemory(runtime, each)),
        settle: async () => await Promise.resolve(),
      }),
    zeros,
    outputTensors: async (wanted) =>
      await Promise.all(wanted.map(async ({ label, dims }) => await zeros(label, dims))),
  };
}

function reserveInMemory(runtime: () => Runtime, { label, shape: { dims } }: WantedRoom): ReservedTensor {
  let values: Float32Array<ArrayBuffer> | Uint8Array<ArrayBuffer> | null = null;
  const make = () => {
    const { Tensor } = runtime();
    invariant(values, `${label} has values`);
    return values instanceof Float32Array
      ? new Tensor("float32", values, dims)
      : new Tensor("uint8", values, dims);
  };
  return {
    ...lazyTensor(make, (tensor) => tensor?.dispose()),
    async write(data, offset) {
      const own = data instanceof Uint16Array ? widenHalves(data) : data;
      if (own.length === sizeOf(dims)) values = own;
      else (values ??= new Float32Array(sizeOf(dims))).set(own, offset / own.BYTES_PER_ELEMENT);
      await Promise.resolve();
    },
  };
}

/** A tensor that is made when it is first wanted. */
function lazyTensor(make: () => Tensor, dispose: (made: Tensor | null) => void): EngineTensor {
  let made: Tensor | null = null;
  return { tensor: () => (made ??= make()), [Symbol.dispose]: () => dispose(made) };
}

function gpuTensors(runtime: () => Runtime, { memory, device }: MeasuredDevice, sessions: Sessions) {
  const tensorIn = (placed: LedgerBuffer, { dims, dataType }: WeightShape) =>
    lazyTensor(
      () => runtime().Tensor.fromGpuBuffer(placed.buffer, { dataType, dims }),
      () => placed[Symbol.dispose](),
    );
  return {
    async reserve(wanted: readonly WantedRoom[]): Promise<Rooms> {
      const placed = await memory.allocateAll(wanted.map(requestOf));
      const bytes = placed.reduce((sum, each) => sum + each.bytes, 0);
      const writing = waitLater(openWeightWriter(device, memory, bytes));
      const roomIn = (own: LedgerBuffer, shape: WeightShape): ReservedTensor => ({
        ...tensorIn(own, shape),
        write: async (data, offset) => await (await writing).write(data, own, offset),
      });
      return {
        tensors: wanted.flatMap(({ shape }, index) => {
          const own = placed[index];
          return own ? [roomIn(own, shape)] : [];
        }),
        settle: async () => await (await writing).settle(),
      };
    },
    async zeros(label: string, dims: readonly number[]) {
      const shape = { dims, dataType: "float32" } as const;
      return tensorIn(await memory.allocate(requestOf({ label, shape })), shape);
    },
    outputTensors: async (wanted: readonly WantedTensor[]) =>
      await runtimeTensors(runtime(), memory, sessions, wanted),
  };
}

function requestOf({ label, shape: { dims, dataType } }: WantedRoom): BufferRequest {
  return { label, bytes: sizeOf(dims) * (dataType === "float32" ? 4 : 1) };
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
        tensor: () => tensor,
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
