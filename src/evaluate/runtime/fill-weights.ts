// Weights to where they have room, in order, the next ones read while one is written.

import type { WeightInput } from "../graph/weight-input.ts";
import type { StoredModel } from "../weights/stored-model.ts";
import { type PlacedValues, weightShape, weightValues } from "../weights/weight-values.ts";
import type { ReservedTensor } from "./tensors.ts";

/** Of weights that are read ahead; one that is larger comes alone. */
const AHEAD_BYTES = 64 * 1024 ** 2;
/** Dense weights of more float32 come in runs of rows: a head may be larger than all else together. */
const RUN_BYTES = 12 * 1024 ** 2;
/** Runs begin where a kernel may be given a part of a buffer, whatever the number of columns. */
const ROW_MULTIPLE = 64;

type Room = Pick<ReservedTensor, "write">;

/** A weight, or some rows of one. */
interface Part {
  readonly weight: WeightInput;
  readonly to: Room;
  /** Where it begins in its room, in bytes. */
  readonly offset: number;
}

interface Coming extends Part {
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
  weights: ReadonlyMap<WeightInput, Room>,
  positions: number,
  aheadBytes = AHEAD_BYTES,
): Promise<void> {
  const left = partsOf(weights);
  const coming: Coming[] = [];
  let next = left.next();
  const readMore = () => {
    let bytes = coming.reduce((sum, each) => sum + each.bytes, 0);
    for (; !next.done; next = left.next()) {
      const own = bytesOf(next.value.weight, positions);
      if (coming.length > 0 && bytes + own > aheadBytes) return;
      const values = weightValues(model, next.value.weight, positions);
      // Why it did not come is told when it is its turn.
      values.catch(() => undefined);
      coming.push({ ...next.value, bytes: own, values });
      bytes += own;
    }
  };
  readMore();
  for (let first = coming[0]; first; first = coming[0]) {
    const values = await first.values;
    coming.shift();
    readMore();
    await first.to.write(values, first.offset);
  }
}

function* partsOf(weights: ReadonlyMap<WeightInput, Room>): Generator<Part, undefined> {
  for (const [weight, to] of weights) {
    if (weight.kind !== "rows" || weight.linear.source.turned) {
      yield { weight, to, offset: 0 };
      continue;
    }
    const rowBytes = weight.linear.columns * 4;
    const most = Math.max(ROW_MULTIPLE, Math.floor(RUN_BYTES / rowBytes / ROW_MULTIPLE) * ROW_MULTIPLE);
    for (let first = 0; first < weight.rows; first += most) {
      const run = { firstRow: weight.firstRow + first, rows: Math.min(most, weight.rows - first) };
      yield { weight: { ...weight, ...run }, to, offset: first * rowBytes };
    }
  }
}

function bytesOf(weight: WeightInput, positions: number): number {
  const { dims, dataType } = weightShape(weight, positions);
  return dims.reduce((product, size) => product * size, dataType === "float32" ? 4 : 1);
}
