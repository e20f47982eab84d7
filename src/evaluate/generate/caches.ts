// Keys and values of all layers for tokens that were seen.

import type { Tensor } from "onnxruntime-web";
import type { DecoderDescription } from "../../model/decoder-description.ts";
import type { Engine } from "../runtime/engine.ts";
import { mixersOf } from "../graph/mixers/nodes-of.ts";
import { cacheNames } from "../graph/run-inputs.ts";

export interface Caches extends Disposable {
  feeds(): Record<string, Tensor>;
  fetches(): Record<string, Tensor | null>;
  /** Takes over what a run gave back. */
  keep(outputs: Readonly<Record<string, Tensor>>): void;
}

interface Pair {
  readonly past: string;
  readonly present: string;
  readonly dims: readonly number[];
}

/**
 * Keys and values of all layers. On the GPU each run reads and writes one buffer of `maxTokens` in place; in memory a run
 * gives back longer tensors than it was given.
 * @throws DeviceLimitError if they do not fit.
 */
export async function createCaches(
  engine: Engine,
  { layers }: DecoderDescription,
  maxTokens: number,
): Promise<Caches> {
  const pairs = layers.flatMap((layer, index): Pair[] => {
    const cache = mixersOf([layer]).find((mixer) => mixer.cache !== null)?.cache;
    if (!cache) return [];
    const names = cacheNames(index);
    const dims = [1, cache.kvHeads, maxTokens, cache.headDim];
    return [
      { past: names.pastKeys, present: names.keys, dims },
      { past: names.pastValues, present: names.values, dims },
    ];
  });
  return engine.gpu ? await cachesInPlace(engine, pairs) : await growingCaches(engine, pairs);
}

async function cachesInPlace(engine: Engine, pairs: readonly Pair[]): Promise<Caches> {
  const made = await engine.outputTensors(pairs.map(({ past: label, dims }) => ({ label, dims })));
  const named = (name: "past" | "present") =>
    Object.fromEntries(
      made.flatMap(({ tensor }, index) => {
        const pair = pairs[index];
        return pair ? [[pair[name], tensor()] as const] : [];
      }),
    );
  const [feeds, fetches] = [named("past"), named("present")];
  return {
    feeds: () => feeds,
    fetches: () => fetches,
    keep: () => undefined,
    [Symbol.dispose]() {
      for (const each of made) each[Symbol.dispose]();
    },
  };
}

async function growingCaches(engine: Engine, pairs: readonly Pair[]): Promise<Caches> {
  const tensors = new Map<string, Tensor>();
  for (const { past, dims } of pairs) {
    const { tensor } = await engine.zeros(past, dims.with(2, 0));
    tensors.set(past, tensor());
  }
  return {
    feeds: () => Object.fromEntries(tensors),
    fetches: () => Object.fromEntries(pairs.map(({ present }) => [present, null])),
    keep(outputs) {
      for (const { past, present } of pairs) {
        const tensor = outputs[present];
        if (!tensor) continue;
        tensors.get(past)?.dispose();
        tensors.set(past, tensor);
      }
    },
    [Symbol.dispose]() {
      for (const tensor of tensors.values()) tensor.dispose();
    },
  };
}
