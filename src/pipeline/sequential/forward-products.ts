// What a job's forward products are computed on. All of its layers must be computed alike, or a job that was interrupted would
// end with other bytes than one that was not: the first run decides, and writes it down.

import { DeviceLimitError } from "../../errors.ts";
import type { Gpu } from "../../gpu/gpu.ts";
import { matrixShapeName } from "../../gpu/matmul/matrix-shape.ts";
import type { MatrixUnits } from "../../gpu/tuning.ts";
import { openMatrixUnits } from "../../gpu/matmul/open-matrix-units.ts";
import type { JournalRecords } from "../../offload/journal.ts";
import { recordedForward, recordForward } from "../job/job-journal.ts";
import type { Job, RunOutput } from "../job/job.ts";
import type { ForwardProducts } from "../../api/job-options.ts";

const FLOAT32 = "F32";
/** Behind the shape of the units. */
const HESSIANS_TOO = " with Hessians";

/**
 * Sets `gpu.tuning.matrices`; disposing the result frees what that holds.
 * @param tell takes a sentence for the user
 * @param open finds matrix units that are right, and faster unless it is told to take any
 */
export async function openForwardProducts(
  gpu: Gpu,
  journal: JournalRecords,
  wanted: ForwardProducts,
  tell: (notice: string) => void,
  open = openMatrixUnits,
): Promise<Disposable> {
  const before = recordedForward(journal);
  if ((before ?? wanted) === FLOAT32) {
    if (before === null) recordForward(journal, FLOAT32);
    return { [Symbol.dispose]: () => undefined };
  }
  const units = await open(gpu, before !== null);
  const { matrices } = gpu.tuning;
  if (matrices && before !== null) matrices.hessians &&= before.endsWith(HESSIANS_TOO);
  const now = productsOf(matrices);
  if (before === null) recordForward(journal, now);
  else if (now !== before) {
    tell(
      `The layers so far were computed on matrix units (${before}), which this browser does not offer now (${now}); the rest may differ from an uninterrupted job in its last digits.`,
    );
  }
  return units;
}

/** The journals of a run as one: all of its results are of the same forward products, whichever begins first. */
export function forwardRecords({ journal, results }: RunOutput): JournalRecords {
  const calibrated = results.filter(({ job }) => job.plan.calibration !== null);
  const journals = [...new Set([journal, ...calibrated.map((result) => result.journal)])];
  const known = journals.map(recordedForward).find((products) => products !== null);
  if (known !== undefined)
    for (const each of journals) if (recordedForward(each) === null) recordForward(each, known);
  return {
    records: journal.records,
    append: (record) => journals.forEach((each) => each.append(record)),
  };
}

/**
 * Takes what the states that a part begins with were computed on, for the part's own products.
 * @returns checks, once the products are open, that this GPU offers it: a DeviceLimitError if not
 */
export function takeForwardProducts({ plan: { part } }: Job, journal: JournalRecords): (gpu: Gpu) => void {
  const given = part?.asked.kind === "layers" ? part.asked.forwardProducts : undefined;
  if (given === undefined) return () => undefined;
  if (recordedForward(journal) === null) recordForward(journal, given);
  return ({ tuning: { matrices } }) => {
    const now = productsOf(matrices);
    if (now === given) return;
    throw new DeviceLimitError(
      `The hidden states that this part begins with were computed on ${given}, and this GPU and browser compute on ${now}: the part would not fit the others. Use a GPU as that one, or make the states with --forward-products F32.`,
    );
  };
}

/** A sentence on what the forward products of a finished job ran on; none for float32. */
export function forwardNotes(journal: JournalRecords): string[] {
  const products = recordedForward(journal);
  if (products === null || products === FLOAT32) return [];
  const halves = `each float32 as a pair of float16 halves`;
  return [
    products.endsWith(HESSIANS_TOO)
      ? `Forward passes and Hessians ran on the GPU's matrix units (${products.slice(0, -HESSIANS_TOO.length)}), ${halves}. Factorisations and GPTQ are float32.`
      : `Forward passes ran on the GPU's matrix units (${products}), ${halves}. Hessians and GPTQ are float32.`,
  ];
}

/** What is written down of matrix units. */
function productsOf(matrices: MatrixUnits | null): string {
  if (!matrices) return FLOAT32;
  return `${matrixShapeName(matrices.shape)}${matrices.hessians ? HESSIANS_TOO : ""}`;
}
