// What a job's forward products are computed on. All of its layers must be computed alike, or a job that was interrupted would
// end with other bytes than one that was not: the first run decides, and writes it down.

import { openTogether } from "../../disposal.ts";
import { DeviceLimitError } from "../../errors.ts";
import type { Gpu } from "../../gpu/gpu.ts";
import { openStrassen, type StrassenPlace } from "../../gpu/matmul/strassen/open-strassen.ts";
import { matrixShapeName } from "../../gpu/matmul/matrix-shape.ts";
import type { Tuning } from "../../gpu/device/tuning.ts";
import { openMatrixUnits } from "../../gpu/matmul/open-matrix-units.ts";
import type { JournalRecords } from "../../offload/journal.ts";
import { recordedForward, recordForward } from "../job/job-journal.ts";
import type { Job, RunOutput } from "../job/job.ts";
import type { ForwardProducts } from "../../formats/recipe/forward-products.ts";

const FLOAT32 = "F32";
const STRASSEN = "F32_STRASSEN";
/** Where there is room for them then alone. */
const STRASSEN_TO_PROPAGATE = "F32_STRASSEN to propagate";
/** Behind the shape of the units. */
const HESSIANS_TOO = " with Hessians";

/** What is asked for, and what the plan has room for. */
export interface WantedProducts {
  readonly products: ForwardProducts;
  /** Of Strassen's products, or null. */
  readonly strassen: StrassenPlace | null;
}

/** What finds what is right, and faster unless it is told to take any. */
const OPENERS = { units: openMatrixUnits, strassen: openStrassen };

/**
 * Sets `gpu.tuning.matrices`, or what Strassen's products are, or neither; disposing the result frees what those hold.
 * @param tell takes a sentence for the user
 */
export async function openForwardProducts(
  gpu: Gpu,
  journal: JournalRecords,
  { products: wanted, strassen }: WantedProducts,
  tell: (notice: string) => void,
  open = OPENERS,
): Promise<Disposable> {
  const before = recordedForward(journal);
  const asked = before ?? wanted;
  const { tuning } = gpu;
  const isStrassen = areByStrassen(asked);
  return await openTogether(async (opened) => {
    if (asked !== FLOAT32 && !isStrassen) opened.use(await open.units(gpu, before !== null));
    if (tuning.matrices && before !== null) tuning.matrices.hessians &&= before.endsWith(HESSIANS_TOO);
    const takesStrassen = isStrassen || (before === null && asked !== FLOAT32 && !tuning.matrices);
    if (takesStrassen) opened.use(await open.strassen(gpu, strassen, isStrassen));
    const now = productsOf(tuning);
    if (before === null) recordForward(journal, now);
    else if (now !== before) tell(changedSentence(before, now));
    return {};
  });
}

/** True of products that were Strassen's, wherever they were taken. */
function areByStrassen(products: string): boolean {
  return products === STRASSEN || products === STRASSEN_TO_PROPAGATE;
}

function changedSentence(before: string, now: string): string {
  const rest = "the rest may differ from an uninterrupted job in its last digits.";
  return areByStrassen(before)
    ? `The layers so far were computed by Strassen's products, for which this job's plan has other room now, or none; ${rest}`
    : `The layers so far were computed on matrix units (${before}), which this browser does not offer now (${now}); ${rest}`;
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
  return ({ tuning }) => {
    const now = productsOf(tuning);
    if (now === given) return;
    throw new DeviceLimitError(
      `The hidden states that this part begins with were computed on ${given}, and this GPU and browser compute on ${now}: the part would not fit the others. Use a GPU as that one, or make the states with --forward-products F32.`,
    );
  };
}

/** A sentence on what the forward products of a finished job ran on; none for plain float32. */
export function forwardNotes(journal: JournalRecords): string[] {
  const products = recordedForward(journal);
  if (products === null || products === FLOAT32) return [];
  if (areByStrassen(products)) {
    const where =
      products === STRASSEN ? "the forward passes" : "the passes that propagate samples, and of no others,";
    return [
      `Large products of ${where} were computed by Strassen's algorithm: float32, seven products of half the size instead of eight, which rounds about twice as much. Hessians and GPTQ are plain float32.`,
    ];
  }
  const halves = `each float32 as a pair of float16 halves`;
  return [
    products.endsWith(HESSIANS_TOO)
      ? `Forward passes and Hessians ran on the GPU's matrix units (${products.slice(0, -HESSIANS_TOO.length)}), ${halves}. Factorisations and GPTQ are float32.`
      : `Forward passes ran on the GPU's matrix units (${products}), ${halves}. Hessians and GPTQ are float32.`,
  ];
}

/** What is written down of what was opened. */
function productsOf({ matrices, strassen, lentStrassen }: Tuning): string {
  if (!matrices && lentStrassen) return STRASSEN_TO_PROPAGATE;
  if (!matrices) return strassen ? STRASSEN : FLOAT32;
  return `${matrixShapeName(matrices.shape)}${matrices.hessians ? HESSIANS_TOO : ""}`;
}
