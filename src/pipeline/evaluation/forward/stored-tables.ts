// What token blocks of a stored model are given.

import { openTokenTables, type TokenTables } from "../../../calibrate/forward/token-inputs/token-inputs.ts";
import { invariant } from "../../../errors.ts";
import type { StoredModel } from "../../../evaluate/weights/stored-model.ts";
import { readFloats, readRows } from "../../../evaluate/weights/weight-values.ts";
import type { Gpu } from "../../../gpu/gpu.ts";
import type { UploadRing } from "../../../gpu/staging/upload-ring.ts";

/** @param ids those that occur, each once */
export async function openStoredTables(
  gpu: Gpu,
  uploads: UploadRing,
  model: StoredModel,
  ids: Uint32Array<ArrayBuffer>,
): Promise<TokenTables> {
  const { tokenInputs, hiddenSize } = model.description;
  invariant(tokenInputs, "the model's layers are given inputs for tokens");
  const { size, projection, norm, table } = tokenInputs;
  const idsOf = (first: number, end: number) => [...ids.subarray(first, end)];
  // The model multiplies its table's rows itself.
  const inputs = { ...tokenInputs, table: { ...table, multiplier: 1 } };
  return await openTokenTables(gpu, uploads, inputs, hiddenSize, {
    ids: ids.length,
    async states(first, end) {
      const [states] = await model.embed([idsOf(first, end)]);
      invariant(states, "one sequence gives one run of hidden states");
      return states;
    },
    rows: async (layer, first, end) => await model.tokenRows(idsOf(first, end), layer),
    projection: async (layer) => await readRows(model, projection, layer * size, size),
    norm: async () => await readFloats(model, norm.weight ?? ""),
  });
}
