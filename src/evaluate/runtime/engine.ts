// onnxruntime-web as the rest of evaluation uses it: sessions by graph, weights in buffers of ours, one run at a time.

import type { InferenceSession, Tensor } from "onnxruntime-web";
import { endedBy, undoneBy } from "../../ended-by.ts";
import { DeviceLimitError, invariant } from "../../errors.ts";
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
import { createTensorFactory, type ReservedTensor, type Rooms, type TensorFactory } from "./tensors.ts";

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
  /** There once the engine is ready. */
  readonly runtime: Runtime;
  readonly maxInputBytes: number;
  /** Where time went: the runtime and, meanwhile, the device; room for weights, and weights, while sessions are made. */
  readonly clock: PhaseClock;
  /** Resolves when the runtime is loaded. Until then weights may be onloaded, which waits for it at its end, and nothing else be done. */
  ready(): Promise<void>;
  /**
   * Loads the weights of a graph; one of equal bytes reuses its session.
   * @param beside what else the runtime is to do before a run, once it has the session: weights still come meanwhile
   * @throws DeviceLimitError before anything is read if they do not fit; what `beside` throws
   */
  onload(
    model: StoredModel,
    built: BuiltGraph,
    positions: number,
    beside?: () => Promise<void>,
  ): Promise<OnloadedGraph>;
  /** Makes the session of a graph that will be onloaded. */
  prepare(built: BuiltGraph): Promise<void>;
  readonly gpu: MeasuredDevice | null;
  /** What a failure is told as: a loss of the GPU, where that is what the runtime failed of, in words of its own. */
  reason(failure: unknown): Promise<unknown>;
}

export interface EngineOptions {
  readonly budgetBytes: number;
  /** Default: WebGPU on a real GPU, else WebAssembly. */
  readonly provider?: Provider;
}

/**
 * An engine that is ready.
 * @throws DeviceLimitError if WebGPU was asked for and there is none.
 */
export async function createEngine(options: EngineOptions): Promise<Engine> {
  const engine = await openEngine(options);
  await undoneBy(
    async () => await engine.ready(),
    async () => await engine[Symbol.asyncDispose](),
  );
  return engine;
}

/**
 * What comes of something that is done with an engine, which is closed then.
 * @throws what failed first, as the engine tells it
 */
export async function closing<Result>(engine: Engine, run: () => Promise<Result>): Promise<Result> {
  const told = async () =>
    await run().catch(async (failure: unknown) => {
      throw await engine.reason(failure);
    });
  return await endedBy(told, async () => await engine[Symbol.asyncDispose]());
}

/**
 * An engine as soon as its device is there.
 * @param clock what the engine's phases are counted on
 * @throws DeviceLimitError if WebGPU was asked for and there is none.
 */
export async function openEngine(options: EngineOptions, clock = startPhaseClock()): Promise<Engine> {
  const lazy = lazyRuntime(clock);
  const gpu = await openDevice(options, clock);
  const sessions = createSessions(lazy.loading, gpu);
  const tensors = createTensorFactory(() => lazy.loaded(), gpu, sessions);
  return {
    ...tensors,
    provider: gpu ? "webgpu" : "wasm",
    clock,
    get runtime() {
      return lazy.loaded();
    },
    ready: async () => void (await lazy.loading),
    gpu,
    reason: async (failure) => (await gpu?.loss()) ?? failure,
    maxInputBytes: Math.min(gpu?.maxBindingBytes ?? MAX_INPUT_BYTES, MAX_INPUT_BYTES),
    async prepare({ graph }) {
      await clock.time("sessions", async () => await sessions.open(graph, "plain"));
    },
    async onload(model, built, positions, beside) {
      // The runtime prepares the graph while its weights come.
      const opening = waitLater(
        clock.time("sessions", async () => await sessions.open(built.graph, "plain")),
      );
      const reserve = async () => await reserveWeights(built.weights, positions, tensors);
      const rooms = await clock.time("room", reserve);
      const onloaded = onloadedGraph(sessions, built, opening, rooms.weights);
      const filling = waitLater(clock.time("weights", async () => await fillRooms(model, rooms, positions)));
      try {
        await opening;
        await beside?.();
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
      try {
        await sessions[Symbol.asyncDispose]();
      } finally {
        gpu?.[Symbol.dispose]();
      }
    },
  };
}

/** The runtime, on its way. */
function lazyRuntime(clock: PhaseClock) {
  let runtime: Runtime | null = null;
  const load = async () => (runtime = await loadRuntime());
  return {
    loading: waitLater(clock.time("runtime", load)),
    loaded() {
      invariant(runtime, "the runtime is loaded before it is used");
      return runtime;
    },
  };
}

/** The device, if there is to be one. */
async function openDevice({ budgetBytes, provider }: EngineOptions, clock: PhaseClock) {
  if (provider === "wasm") return null;
  const open = async () => await openMeasuredDevice(budgetBytes, provider === "webgpu");
  const gpu = await clock.time("device", open);
  if (gpu || provider !== "webgpu") return gpu;
  throw new DeviceLimitError(
    "There is no GPU for onnxruntime-web to run on: the browser offers no WebGPU adapter. WebAssembly needs none.",
  );
}

type Reserved = ReadonlyMap<WeightInput, ReservedTensor>;

interface ReservedWeights extends Pick<Rooms, "settle"> {
  readonly weights: Reserved;
}

/** Room for all weights, before any is read: what does not fit is refused at once. */
async function reserveWeights(
  weights: readonly WeightInput[],
  positions: number,
  tensors: TensorFactory,
): Promise<ReservedWeights> {
  const labelOf = (weight: WeightInput) =>
    "linear" in weight ? `${weight.linear.module} ${weight.kind}` : weight.kind;
  const wanted = weights.map((weight) => ({ label: labelOf(weight), shape: weightShape(weight, positions) }));
  const rooms = await tensors.reserve(wanted);
  const placed = weights.flatMap((weight, index) => {
    const own = rooms.tensors[index];
    return own ? [[weight, own] as const] : [];
  });
  return { weights: new Map(placed), settle: async () => await rooms.settle() };
}

async function fillRooms(
  model: StoredModel,
  { weights, settle }: ReservedWeights,
  positions: number,
): Promise<void> {
  await endedBy(async () => await fillWeights(model, weights, positions), settle);
}

function onloadedGraph(
  sessions: Sessions,
  { graph }: BuiltGraph,
  opening: Promise<InferenceSession>,
  weights: Reserved,
): OnloadedGraph {
  const fed = () => Object.fromEntries(Array.from(weights, ([{ input }, { tensor }]) => [input, tensor()]));
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
