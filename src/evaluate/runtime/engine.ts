// onnxruntime-web as the rest of evaluation uses it: sessions by graph, weights in buffers of ours, one run at a time.

import type { InferenceSession, Tensor } from "onnxruntime-web";
import { DeviceLimitError } from "../../errors.ts";
import type { BuiltGraph } from "../graph/decoder-graph.ts";
import type { WeightInput } from "../graph/weight-input.ts";
import { type PhaseClock, startPhaseClock } from "../quality/phase-clock.ts";
import type { StoredModel } from "../weights/stored-model.ts";
import { weightShape } from "../weights/weight-values.ts";
import { fillWeights } from "./fill-weights.ts";
import { loadRuntime, type Runtime } from "./load-runtime.ts";
import { type MeasuredDevice, openMeasuredDevice } from "./measured-device.ts";
import { createSessions, type Feeds, type Fetches, runSession, type Sessions } from "./sessions.ts";
import { waitLater } from "../../wait-later.ts";
import { createTensorFactory, type ReservedTensor, type TensorFactory } from "./tensors.ts";

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
   * of `outputTensors`; what lies in them may change, shapes may not.
   */
  capture(): Promise<OnloadedGraph["run"]>;
}

export interface Engine extends TensorFactory, AsyncDisposable {
  readonly provider: Provider;
  readonly runtime: Runtime;
  readonly maxInputBytes: number;
  /** Where time went: the runtime and, meanwhile, the device; room for weights, and weights, while sessions are made. */
  readonly clock: PhaseClock;
  /**
   * Loads the weights of a graph; one of equal bytes reuses its session.
   * @throws DeviceLimitError before anything is read if they do not fit
   */
  onload(model: StoredModel, built: BuiltGraph, positions: number): Promise<OnloadedGraph>;
  /** Makes the session of a graph that will be onloaded. */
  prepare(built: BuiltGraph): Promise<void>;
  readonly gpu: MeasuredDevice | null;
}

export interface EngineOptions {
  readonly budgetBytes: number;
  /** Default: WebGPU on a real GPU, else WebAssembly. */
  readonly provider?: Provider;
}

/**
 * @param clock what the engine's phases are counted on
 * @throws DeviceLimitError if WebGPU was asked for and there is none.
 */
export async function createEngine(options: EngineOptions, clock = startPhaseClock()): Promise<Engine> {
  const { runtime, gpu } = await openRuntime(options, clock);
  const sessions = createSessions(runtime, gpu);
  const tensors = createTensorFactory(runtime, gpu, sessions);
  return {
    ...tensors,
    provider: gpu ? "webgpu" : "wasm",
    clock,
    runtime,
    gpu,
    maxInputBytes: Math.min(gpu?.maxBindingBytes ?? MAX_INPUT_BYTES, MAX_INPUT_BYTES),
    async prepare({ graph }) {
      await clock.time("sessions", async () => await sessions.open(graph, "plain"));
    },
    async onload(model, built, positions) {
      // The runtime prepares the graph while its weights come.
      const opening = waitLater(
        clock.time("sessions", async () => await sessions.open(built.graph, "plain")),
      );
      const reserve = async () => await reserveWeights(built.weights, positions, tensors);
      const weights = await clock.time("room", reserve);
      const onloaded = onloadedGraph(sessions, built, opening, weights);
      const filling = waitLater(
        clock.time("weights", async () => await fillWeights(model, weights, positions)),
      );
      try {
        await opening;
        await filling;
        return onloaded;
      } catch (error) {
        // Nothing may be written to what was given back.
        await Promise.allSettled([filling]);
        onloaded[Symbol.dispose]();
        throw error;
      }
    },
    async [Symbol.asyncDispose]() {
      await sessions[Symbol.asyncDispose]();
      gpu?.[Symbol.dispose]();
    },
  };
}

/** The runtime, and its device if there is to be one: each is opened while the other is. */
async function openRuntime({ budgetBytes, provider }: EngineOptions, clock: PhaseClock) {
  const loading = waitLater(clock.time("runtime", loadRuntime));
  const openDevice = async () => await openMeasuredDevice(budgetBytes, provider === "webgpu");
  const gpu = provider === "wasm" ? null : await clock.time("device", openDevice);
  try {
    if (provider === "webgpu" && !gpu) {
      throw new DeviceLimitError(
        "There is no GPU for onnxruntime-web to run on: the browser offers no WebGPU adapter. WebAssembly needs none.",
      );
    }
    return { runtime: await loading, gpu };
  } catch (error) {
    gpu?.[Symbol.dispose]();
    throw error;
  }
}

type Reserved = ReadonlyMap<WeightInput, ReservedTensor>;

/** Room for all weights, before any is read: what does not fit is refused at once. */
async function reserveWeights(
  weights: readonly WeightInput[],
  positions: number,
  tensors: TensorFactory,
): Promise<Reserved> {
  const labelOf = (weight: WeightInput) =>
    "linear" in weight ? `${weight.linear.module} ${weight.kind}` : weight.kind;
  const wanted = weights.map((weight) => ({ label: labelOf(weight), shape: weightShape(weight, positions) }));
  const reserved = await tensors.reserve(wanted);
  return new Map(
    weights.flatMap((weight, index) => {
      const own = reserved[index];
      return own ? [[weight, own] as const] : [];
    }),
  );
}

function onloadedGraph(
  sessions: Sessions,
  { graph }: BuiltGraph,
  opening: Promise<InferenceSession>,
  weights: Reserved,
): OnloadedGraph {
  const fed = () => Object.fromEntries(Array.from(weights, ([{ input }, { tensor }]) => [input, tensor]));
  return {
    run: async (feeds, fetches) => await runSession(await opening, { ...fed(), ...feeds }, fetches),
    async capture() {
      const captured = await sessions.open(graph, "captured");
      const own = fed();
      return async (feeds, fetches) => await runSession(captured, { ...own, ...feeds }, fetches);
    },
    [Symbol.dispose]() {
      for (const weight of weights.values()) weight[Symbol.dispose]();
    },
  };
}
