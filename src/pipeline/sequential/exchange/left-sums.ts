// Sums that a share gave away stay a layer longer than they are used: a share that is killed when it has given its modules, and begins
// the layer anew before the others have given theirs, asks for them again. Once a later layer is quantized, all shares have been in
// it, and find the modules of those before it.

import type { Exchange } from "./exchange.ts";
import { waitLater } from "../../../wait-later.ts";

export interface LeftSums {
  /** Keeps a layer's files, and removes those of the layer before. */
  keep(names: readonly string[]): Promise<void>;
}

/** What an earlier run of the job has left stays, as the last layer's does. */
export function createLeftSums({ drop }: Pick<Exchange, "drop">): LeftSums {
  let kept: readonly string[] = [];
  let dropping = Promise.resolve();
  return {
    async keep(names) {
      const before = kept;
      kept = names;
      await dropping;
      // Nobody waits for it.
      dropping = waitLater(drop(before));
    },
  };
}
