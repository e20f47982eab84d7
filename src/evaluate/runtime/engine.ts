// onnxruntime-web as the rest of evaluation uses it: sessions by graph, weights in buffers of ours, one run at a time.

import type { InferenceSession, Tensor } from "onnxruntime-web";
import { DeviceLimitError, invariant, UnsupportedModelError } from "../../errors.ts";
import type { BuiltGraph } from "../graph/decoder-graph.ts";
import type { WeightInput } from "../graph/weight-input.ts";
import type { StoredModel } from "../weights/stored-model.ts";
import { weightValues, type WeightValues } from "../weights/weight-values.ts";
import { loadRuntime, type Runtime } from "./load-runtime.ts";
import { type MeasuredDevice, openMeasuredDevice } from "./measured-device.ts";

/** Where sessions run. */
export type Provider = "webgpu" | "wasm";

/** A weight on the GPU takes one binding; onnxruntime's kernels address at most this much of it. */
const MAX_INPUT_BYTES = 2 ** 30;

export interface EngineTensor extends Disposable {
  readonly tensor: Tensor;
}

export type Feeds = Readonly<Record<string, Tensor>>;

/** A graph with its weights onloaded. */
export interface OnloadedGraph extends Disposable {
  /** Runs with `feeds` beside the weights; outputs are on the CPU, or in the tensors of `fetches`. */
  run(feeds: Feeds, fetches?: Readonly<Record<string, Tensor | null>>): Promise<Record<string, Tensor>>;
}

export interface Engine extends AsyncDisposable {
  readonly provider: Provider;
  readonly runtime: Runtime;
  readonly maxInputBytes: number;
  /** Loads the weights of a graph; one of equal bytes reuses its session. */
  onload(model: StoredModel, built: BuiltGraph, positions: number): Promise<OnloadedGraph>;
  /** A zeroed tensor that lives on the GPU, or in memory where there is none. */
  zeros(label: string, dims: readonly number[]): Promise<EngineTensor>;
  /** A tensor of values that lives where `zeros` does. */
  upload(label: string, data: Float32Array<ArrayBuffer>, dims: readonly number[]): Promise<EngineTensor>;
  /** The first rows of a tensor (rows, columns) as a tensor of its own. */
  firstRows(tensor: EngineTensor, rows: number): Tensor;
  /** Waits until the GPU is done with what was asked of it: a desktop shares it, and its queue must not grow. */
  settle(): Promise<void>;
  floats(data: Float32Array, dims: readonly number[]): Tensor;
  readonly gpu: MeasuredDevice | null;
}

export interface EngineOptions {
  readonly budgetBytes: number;
  /** Default: WebGPU on a real GPU, else WebAssembly. */
  readonly provider?: Provider;
}

/** @throws DeviceLimitError if WebGPU was asked for and there is none. */
export async function createEngine(options: EngineOptions): Promise<Engine> {
  const runtime = await loadRuntime();
  const gpu =
    options.provider === "wasm"
      ? null
      : await openMeasuredDevice(options.budgetBytes, options.provider === "webgpu");
  if (options.provider === "webgpu" && !gpu) {
    throw new DeviceLimitError(
      "There is no GPU for onnxruntime-web to run on: the browser offers no WebGPU adapter. WebAssembly needs none.",
    );
  }
  const sessions = new Map<string, Promise<InferenceSession>>();
  const tensors = tensorFactory(runtime, gpu);
  const sessionOf = async (built: BuiltGraph) => {
    const bytes = built.graph.encode();
    const key = String.fromCharCode(...new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)));
    const session = sessions.get(key) ?? createSession(runtime, bytes, gpu);
    sessions.set(key, session);
    return await session;
  };
  return {
    provider: gpu ? "webgpu" : "wasm",
    runtime,
    gpu,
    maxInputBytes: Math.min(gpu?.maxBindingBytes ?? MAX_INPUT_BYTES, MAX_INPUT_BYTES),
    async onload(model, built, positions) {
      const session = await sessionOf(built);
      const weights = await onloadWeights(model, built.weights, positions, tensors);
      const fed = Object.fromEntries([...weights].map(([input, { tensor }]) => [input, tensor]));
      return {
        run: async (feeds, fetches) => await runSession(session, { ...fed, ...feeds }, fetches),
        [Symbol.dispose]() {
          for (const weight of weights.values()) weight[Symbol.dispose]();
        },
      };
    },
    zeros: async (label, dims) => await tensors.zeros(label, dims),
    upload: async (label, data, dims) => await tensors.upload(label, { dims, data }),
    firstRows: ({ tensor }, rows) => firstRows(runtime, tensor, rows),
    settle: async () => await gpu?.device.queue.onSubmittedWorkDone(),
    floats: (data, dims) => new runtime.Tensor("float32", data, dims),
    async [Symbol.asyncDispose]() {
      for (const session of sessions.values()) await (await session).release();
      gpu?.[Symbol.dispose]();
    },
  };
}

async function createSession(runtime: Runtime, bytes: Uint8Array, gpu: MeasuredDevice | null) {
  try {
    return await runtime.InferenceSession.create(bytes, {
      executionProviders: gpu
        ? [{ name: "webgpu", device: gpu.device, storageBufferCacheMode: "lazyRelease" }]
        : ["wasm"],
    });
  } catch (cause) {
    throw new UnsupportedModelError(
      `onnxruntime-web cannot run this model: ${cause instanceof Error ? cause.message : String(cause)}`,
      { cause },
    );
  }
}

async function runSession(
  session: InferenceSession,
  feeds: Feeds,
  fetches?: Readonly<Record<string, Tensor | null>>,
): Promise<Record<string, Tensor>> {
  // A graph without rotary tables or attention declares fewer inputs than a run offers.
  const known = new Set(session.inputNames);
  const wanted = Object.fromEntries(Object.entries(feeds).filter(([name]) => known.has(name)));
  const outputs = await (fetches ? session.run(wanted, fetches) : session.run(wanted));
  return { ...outputs };
}

/** A view on the GPU; nothing is copied. */
function firstRows(runtime: Runtime, tensor: Tensor, rows: number): Tensor {
  const [, columns = 0] = tensor.dims;
  if (tensor.dims[0] === rows) return tensor;
  return runtime.Tensor.fromGpuBuffer(tensor.gpuBuffer, { dataType: "float32", dims: [rows, columns] });
}

interface TensorFactory {
  upload(label: string, values: WeightValues): Promise<EngineTensor>;
  zeros(label: string, dims: readonly number[]): Promise<EngineTensor>;
}

function tensorFactory(runtime: Runtime, gpu: MeasuredDevice | null): TensorFactory {
  const place = async (label: string, type: "float32" | "uint8", dims: readonly number[], bytes: number) => {
    invariant(gpu, "there is a GPU");
    const buffer = await gpu.memory.allocate({ label, bytes });
    const tensor = runtime.Tensor.fromGpuBuffer(buffer.buffer, { dataType: type, dims });
    return { tensor, buffer, [Symbol.dispose]: () => buffer[Symbol.dispose]() };
  };
  return {
    async upload(label, { dims, data }) {
      const type = data instanceof Float32Array ? "float32" : "uint8";
      if (!gpu) {
        const tensor =
          data instanceof Float32Array
            ? new runtime.Tensor("float32", data, dims)
            : new runtime.Tensor("uint8", data, dims);
        return { tensor, [Symbol.dispose]: () => tensor.dispose() };
      }
      const placed = await place(label, type, dims, data.byteLength);
      gpu.device.queue.writeBuffer(placed.buffer.buffer, 0, wholeWords(data));
      return placed;
    },
    async zeros(label, dims) {
      const values = dims.reduce((product, size) => product * size, 1);
      if (gpu) return await place(label, "float32", dims, values * 4);
      const tensor = new runtime.Tensor("float32", new Float32Array(values), dims);
      return { tensor, [Symbol.dispose]: () => tensor.dispose() };
    },
  };
}

/** Writes are multiples of 4 bytes. */
function wholeWords(data: Float32Array<ArrayBuffer> | Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  if (bytes.byteLength % 4 === 0) return bytes;
  const padded = new Uint8Array(Math.ceil(bytes.byteLength / 4) * 4);
  padded.set(bytes);
  return padded;
}

async function onloadWeights(
  model: StoredModel,
  weights: readonly WeightInput[],
  positions: number,
  tensors: TensorFactory,
): Promise<Map<string, EngineTensor>> {
  const onloaded = new Map<string, EngineTensor>();
  try {
    for (const weight of weights) {
      const label = "linear" in weight ? `${weight.linear.module} ${weight.kind}` : weight.kind;
      onloaded.set(weight.input, await tensors.upload(label, await weightValues(model, weight, positions)));
    }
  } catch (error) {
    for (const tensor of onloaded.values()) tensor[Symbol.dispose]();
    throw error;
  }
  return onloaded;
}
