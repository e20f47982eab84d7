// Hidden states of all sequences between layers: on the GPU where they fit into a part of its budget, else in memory.

import type { Tensor } from "onnxruntime-web";
import { invariant } from "../../errors.ts";
import type { Engine } from "../runtime/engine.ts";
import type { EngineTensor } from "../runtime/tensors.ts";

/** The part of the budget that hidden states may take: the larger one is left to weights and to what runs need. */
const BUDGET_SHARE = 1 / 4;

export interface HiddenStates extends Disposable {
  readonly place: "gpu" | "host";
  /** Tokens of each sequence. */
  readonly lengths: readonly number[];
  /** (tokens, hidden) of a sequence, to be fed. */
  tensor(at: number): Tensor;
  /** Where a run is to write the sequence's next states; null lets the runtime choose. */
  target(at: number): Promise<Tensor | null>;
  /** What a run wrote is the sequence's states now. */
  advance(at: number, written: Tensor | undefined): void;
}

/** True if hidden states of so many bytes may wait on the GPU. */
export function fitsOnGpu(engine: Engine, bytes: number): boolean {
  return engine.gpu !== null && bytes <= engine.gpu.memory.budgetBytes * BUDGET_SHARE;
}

/**
 * Takes over the first hidden states, (tokens, hidden) each.
 * @throws DeviceLimitError if they are to wait on the GPU, and it refuses them.
 */
export async function createHiddenStates(
  engine: Engine,
  place: HiddenStates["place"],
  states: readonly Float32Array<ArrayBuffer>[],
  hiddenSize: number,
): Promise<HiddenStates> {
  const lengths = states.map(({ length }) => length / hiddenSize);
  if (place === "host") return hostStates(engine, states, lengths, hiddenSize);
  const onGpu: EngineTensor[] = [];
  try {
    for (const [at, values] of states.entries()) {
      onGpu.push(await engine.upload("hidden states", values, [lengths[at] ?? 0, hiddenSize]));
    }
  } catch (error) {
    for (const tensor of onGpu) tensor[Symbol.dispose]();
    throw error;
  }
  return gpuStates(engine, onGpu, lengths, hiddenSize);
}

function hostStates(
  engine: Engine,
  first: readonly Float32Array<ArrayBuffer>[],
  lengths: readonly number[],
  hiddenSize: number,
): HiddenStates {
  const tensors = first.map((values, at) => engine.floats(values, [lengths[at] ?? 0, hiddenSize]));
  return {
    place: "host",
    lengths,
    tensor: (at) => present(tensors[at]),
    target: async () => await Promise.resolve(null),
    advance(at, written) {
      tensors[at]?.dispose();
      tensors[at] = present(written);
    },
    [Symbol.dispose]() {
      for (const tensor of tensors) tensor.dispose();
    },
  };
}

/** A run cannot write what it reads, so there is one spare tensor for each length; the two change places. */
function gpuStates(
  engine: Engine,
  tensors: EngineTensor[],
  lengths: readonly number[],
  hiddenSize: number,
): HiddenStates {
  const spares = new Map<number, EngineTensor>();
  return {
    place: "gpu",
    lengths,
    tensor: (at) => present(tensors[at]).tensor,
    async target(at) {
      const length = lengths[at] ?? 0;
      const spare = spares.get(length) ?? (await engine.zeros("hidden states, spare", [length, hiddenSize]));
      spares.set(length, spare);
      return spare.tensor;
    },
    advance(at) {
      const length = lengths[at] ?? 0;
      const written = present(spares.get(length));
      spares.set(length, present(tensors[at]));
      tensors[at] = written;
    },
    [Symbol.dispose]() {
      for (const tensor of [...tensors, ...spares.values()]) tensor[Symbol.dispose]();
    },
  };
}

function present<Value>(value: Value | undefined): Value {
  invariant(value, "the sequence has hidden states");
  return value;
}
