// onnxruntime-web as the rest of evaluation uses it: sessions by graph, weights in buffers of ours, one run at a time.

import type { Tensor } from "onnxruntime-web";
import { DeviceLimitError } from "../../errors.ts";
import type { BuiltGraph } from "../graph/decoder-graph.ts";
import type { WeightInput } from "../graph/weight-input.ts";
import { type PhaseClock, startPhaseClock } from "../quality/phase-clock.ts";
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

/** Weights on their way to the GPU at once. */
const UPLOADS_AT_ONCE = 4;

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
  /** Where time went: the runtime, sessions, and weights, which come while sessions are made. */
  readonly clock: PhaseClock;
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
  const clock = startPhaseClock();
  const runtime = await clock.time("runtime", loadRuntime);
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
    clock,
    runtime,
    gpu,
    maxInputBytes: Math.min(gpu?.maxBindingBytes ?? MAX_INPUT_BYTES, MAX_INPUT_BYTES),
    async onload(model, built, positions) {
      // The runtime prepares the graph while its weights come.
      const opening = clock.time("sessions", async () => await sessions.open(built.graph, "plain"));
      opening.catch(() => undefined);
      const weights = await clock.time(
        "weights",
        async () => await onloadWeights(model, built.weights, positions, tensors),
      );
      const session = await opening.catch((error: unknown) => {
        for (const weight of weights.values()) weight[Symbol.dispose]();
        throw error;
      });
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

/** Reads one weight after the other; each is placed while the next ones are read. */
async function onloadWeights(
  model: StoredModel,
  weights: readonly WeightInput[],
  positions: number,
  tensors: TensorFactory,
): Promise<Map<string, EngineTensor>> {
  const placing: Promise<[string, EngineTensor]>[] = [];
  try {
    for (const weight of weights) {
      const label = "linear" in weight ? `${weight.linear.module} ${weight.kind}` : weight.kind;
      const { data, dims } = await weightValues(model, weight, positions);
      const placed = tensors
        .upload(label, data, dims)
        .then((tensor): [string, EngineTensor] => [weight.input, tensor]);
      placed.catch(() => undefined);
      placing.push(placed);
      // What waits to be placed lies in memory twice.
      await placing.at(-UPLOADS_AT_ONCE);
    }
    return new Map(await Promise.all(placing));
  } catch (error) {
    for (const placed of await Promise.allSettled(placing)) {
      if (placed.status === "fulfilled") placed.value[1][Symbol.dispose]();
    }
    throw error;
  }
}
