// onnxruntime-web as the rest of evaluation uses it: sessions by graph, weights in buffers of ours, one run at a time.

import type { Tensor } from "onnxruntime-web";
import { DeviceLimitError } from "../../errors.ts";
import type { BuiltGraph } from "../graph/decoder-graph.ts";
import type { WeightInput } from "../graph/weight-input.ts";
import type { StoredModel } from "../weights/stored-model.ts";
import { weightValues } from "../weights/weight-values.ts";
import { loadRuntime, type Runtime } from "./load-runtime.ts";
import { type MeasuredDevice, openMeasuredDevice } from "./measured-device.ts";
import { createSessions, type Feeds, type Fetches, runSession } from "./sessions.ts";
import { createTensorFactory, type EngineTensor, type TensorFactory } from "./tensors.ts";

/** Where sessions run. */
export type Provider = "webgpu" | "wasm";

/** A weight on the GPU takes one binding; onnxruntime's kernels address at most this much of it. */
const MAX_INPUT_BYTES = 2 ** 30;

/** A graph with its weights onloaded. */
export interface OnloadedGraph extends Disposable {
  /** Runs with `feeds` beside the weights; outputs are on the CPU, or in the tensors of `fetches`. */
  run(feeds: Feeds, fetches?: Fetches): Promise<Record<string, Tensor>>;
  /**
   * A session of its own for the same weights, which records the GPU's commands when it runs first and plays them again
   * after that: far less work for the processor. Feeds and fetches must be the same tensors on the GPU each time, fetches
   * of `outputTensor`; what lies in them may change, shapes may not.
   */
  capture(): Promise<OnloadedGraph["run"]>;
}

export interface Engine extends TensorFactory, AsyncDisposable {
  readonly provider: Provider;
  readonly runtime: Runtime;
  readonly maxInputBytes: number;
  /** Loads the weights of a graph; one of equal bytes reuses its session. */
  onload(model: StoredModel, built: BuiltGraph, positions: number): Promise<OnloadedGraph>;
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
  const sessions = createSessions(runtime, gpu);
  const tensors = createTensorFactory(runtime, gpu, sessions);
  return {
    ...tensors,
    provider: gpu ? "webgpu" : "wasm",
    runtime,
    gpu,
    maxInputBytes: Math.min(gpu?.maxBindingBytes ?? MAX_INPUT_BYTES, MAX_INPUT_BYTES),
    async onload(model, built, positions) {
      const session = await sessions.open(built.graph, "plain");
      const weights = await onloadWeights(model, built.weights, positions, tensors);
      const fed = Object.fromEntries([...weights].map(([input, { tensor }]) => [input, tensor]));
      return {
        run: async (feeds, fetches) => await runSession(session, { ...fed, ...feeds }, fetches),
        async capture() {
          const captured = await sessions.open(built.graph, "captured");
          return async (feeds, fetches) => await runSession(captured, { ...fed, ...feeds }, fetches);
        },
        [Symbol.dispose]() {
          for (const weight of weights.values()) weight[Symbol.dispose]();
        },
      };
    },
    async [Symbol.asyncDispose]() {
      await sessions[Symbol.asyncDispose]();
      gpu?.[Symbol.dispose]();
    },
  };
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
      const { data, dims } = await weightValues(model, weight, positions);
      onloaded.set(weight.input, await tensors.upload(label, data, dims));
    }
  } catch (error) {
    for (const tensor of onloaded.values()) tensor[Symbol.dispose]();
    throw error;
  }
  return onloaded;
}
