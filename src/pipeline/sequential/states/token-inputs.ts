// What token blocks are given in a calibrated job, from the source as it is: a projection outside of the layers that a recipe
// quantizes is taken as it was.

import {
  distinctIds,
  openTokenInputSource,
} from "../../../calibrate/forward/token-inputs/token-input-source.ts";
import { openTokenTables, type TokenTables } from "../../../calibrate/forward/token-inputs/token-inputs.ts";
import { invariant } from "../../../errors.ts";
import { isFloatDtype } from "../../../formats/numbers/dtype.ts";
import type { Gpu } from "../../../gpu/gpu.ts";
import type { UploadRing } from "../../../gpu/staging/upload-ring.ts";
import type { CalibrationJob } from "../../calibration/plan-calibrated-layers.ts";
import type { Job } from "../../job/job.ts";

/** Host memory for each of the two tables' rows; if they do not fit, they are read anew for each layer. */
const MAX_TABLE_BYTES = 2 * 1024 ** 3;

export interface TokenInputsAtWork {
  readonly tables: TokenTables;
  /** The row of a token's id in the tables. */
  readonly placeOf: (id: number) => number;
}

/** Null if no layer is given any. */
export async function openTokenInputs(
  job: Job,
  { description, set }: CalibrationJob,
  { gpu, uploads }: { readonly gpu: Gpu; readonly uploads: UploadRing },
): Promise<TokenInputsAtWork | null> {
  const { tokenInputs, hiddenSize } = description;
  if (!tokenInputs) return null;
  const { ids, placeOf } = distinctIds(set.sequences);
  const tensor = (name: string) => {
    const found = job.model.tensors.find((each) => each.name === name);
    invariant(found && isFloatDtype(found.dtype), `the model has ${name}`);
    const { dtype, file: path, start } = found;
    const read = async (from: number, to: number) =>
      await job.source.read({ path, start: start + from, end: start + to });
    return { dtype, read };
  };
  const source = await openTokenInputSource(description, tokenInputs, ids, tensor, MAX_TABLE_BYTES);
  return { tables: await openTokenTables(gpu, uploads, tokenInputs, hiddenSize, source), placeOf };
}
