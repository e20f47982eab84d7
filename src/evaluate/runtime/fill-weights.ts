// Weights to where they have room, in order, the next ones read while one is written.

import type { WeightInput } from "../graph/weight-input.ts";
import type { StoredModel } from "../weights/stored-model.ts";
import { type PlacedValues, weightShape, weightValues } from "../weights/weight-values.ts";
import type { ReservedTensor } from "./tensors.ts";

/** Of weights that are read ahead; one that is larger comes alone. */
const AHEAD_BYTES = 64 * 1024 ** 2;

interface Coming {
  readonly bytes: number;
  readonly values: Promise<PlacedValues>;
}

/**
 * Reads and writes all weights.
 * @param positions rows of rotary tables
 * @throws what reading throws; nothing is written after that
 */
export async function fillWeights(
  model: StoredModel,
  weights: ReadonlyMap<WeightInput, Pick<ReservedTensor, "write">>,
  positions: number,
  aheadBytes = AHEAD_BYTES,
): Promise<void> {
  const left = [...weights.keys()].values();
  const coming: Coming[] = [];
  let next = left.next();
  const readMore = () => {
    let bytes = coming.reduce((sum, each) => sum + each.bytes, 0);
    for (; !next.done; next = left.next()) {
      const own = bytesOf(next.value, positions);
      if (coming.length > 0 && bytes + own > aheadBytes) return;
      const values = weightValues(model, next.value, positions);
      // Why it did not come is told when it is its turn.
      values.catch(() => undefined);
      coming.push({ bytes: own, values });
      bytes += own;
    }
  };
  for (const tensor of weights.values()) {
    readMore();
    const values = await coming[0]?.values;
    coming.shift();
    readMore();
    if (values) await tensor.write(values);
  }
}

function bytesOf(weight: WeightInput, positions: number): number {
  const { dims, dataType } = weightShape(weight, positions);
  return dims.reduce((product, size) => product * size, dataType === "float32" ? 4 : 1);
}
