// The contract of what collects statistics while samples run through a layer. To add one: a file like `hessians.ts` or
// `ranges/activation-ranges.ts`, and a line where a layer's statistics are opened.

import type { SequenceBatch } from "./batches.ts";
import type { Activations, ForwardHooks } from "./forward/layer-weights.ts";

export interface Collector {
  /** From now on, rows are those of this batch's sequences. */
  begin?(batch: SequenceBatch): void;
  /** Rows of the input that `modules` share; must be read by work recorded in this call. */
  onInput?(modules: readonly string[], input: Activations): Promise<void>;
  /** Keys (as a cache would store them) and values of a mixer, `kvHeads` heads side by side. */
  onKeyValue?(module: string, keys: Activations, values: Activations, kvHeads: number): Promise<void>;
}

/** Hooks of a forward pass that tell each of the collectors, in their order. */
export function collectorHooks(collectors: readonly Collector[]): ForwardHooks {
  return {
    async onInput(modules, input) {
      for (const collector of collectors) await collector.onInput?.(modules, input);
    },
    async onKeyValue(module, keys, values, kvHeads) {
      for (const collector of collectors) await collector.onKeyValue?.(module, keys, values, kvHeads);
    },
  };
}
