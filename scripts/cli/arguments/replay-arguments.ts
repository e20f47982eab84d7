// `--replay receipt.json`: the command line that the receipt stands for.

import type { Receipt, StatedCalibration } from "../../../src/api/receipt.ts";
import type { CalibrationRequest, RecipeRequest } from "../../../src/api/script-api.ts";
import type { JobPart } from "../../../src/api/job-options.ts";
import { formatBytes } from "../../../src/formats/text/format-bytes.ts";
import { MIN_BUDGET_BYTES } from "../../../src/ui/state/fields/gpu-budget.ts";
import { requestedCalibration, requestedRecipe } from "../../../src/formats/recipe/requested-options.ts";
import { type Source, UsageError, readPath, readSource, readText } from "./argument-readers.ts";
import { type AskedPart, readPart } from "./part-arguments.ts";
import { readReceipt } from "../read-receipt.ts";
import { type AskedShare, readShare, type ShareValues } from "./share-arguments.ts";

export interface Replayed {
  readonly receipt: Receipt;
  readonly source: Source;
  readonly recipe: RecipeRequest;
  readonly beside: readonly [];
  readonly folders: readonly [];
  readonly wanted: null;
  readonly along: RecipeRequest | null;
  readonly calibration: Omit<CalibrationRequest, "file">;
  readonly calibrationFile: { readonly path: string; readonly column: string | null } | null;
  readonly gpuBudgetBytes: number;
}

/** What a replay takes beside the receipt: where things lie, and what changes no byte. */
export const BESIDE_REPLAY: readonly string[] = [
  "replay",
  "out",
  "calibration",
  "from-states",
  "share",
  "exchange",
  "patience",
  "gpu-budget",
  "keep-source",
  "token",
  "push",
  "public",
  "push-existing",
  "json",
  "help",
];

/**
 * Reads a receipt into what it asks for.
 * @param given SOURCE and --calibration, for what a receipt cannot name: files of another machine; and whether a budget is given
 * @throws UsageError if something is missing, or is given although the receipt says it
 */
export function readReplay(
  path: string,
  given: { readonly source: string | null; readonly calibration: string | null; readonly budget: boolean },
): Replayed {
  const receipt = readReceipt(readText(path, "--replay"), path);
  const { recipe, calibration, gpu_budget_bytes, along } = receipt.options;
  if (gpu_budget_bytes < MIN_BUDGET_BYTES && !given.budget)
    throw new UsageError(
      `The receipt asks for a GPU budget of ${formatBytes(gpu_budget_bytes)}; ${formatBytes(MIN_BUDGET_BYTES)} is the least. Give one by --gpu-budget.`,
    );
  const { file, ...requested } = requestedCalibration(recipe, calibration);
  return {
    receipt,
    source: sourceOf(receipt, given.source),
    recipe: requestedRecipe(recipe),
    beside: [],
    folders: [],
    wanted: null,
    along: along ? requestedRecipe(along) : null,
    calibration: requested,
    calibrationFile: textOf(calibration, given.calibration, file?.column ?? null),
    gpuBudgetBytes: gpu_budget_bytes,
  };
}

/** What only those who replay a part know: where its hidden states lie, and where shares meet. */
interface PartPlaces extends ShareValues {
  readonly "from-states"?: readonly string[] | undefined;
}

/**
 * The part that a receipt is of. Shares of samples make the same bytes whatever their number, so that this may be another.
 * @throws UsageError if what a part needs is missing, or is given and the receipt is of no such part
 */
export function replayedPart(
  { options: { part, share } }: Receipt,
  places: PartPlaces,
): AskedPart & { readonly share: AskedShare | null } {
  const given = readShare(places);
  if (share && !given)
    throw new UsageError(
      "The receipt is of a job that shared its samples, which adds them up in another order than a job alone. Give --share and --exchange, too; --share 1/1 makes the same bytes.",
    );
  if (given && !share)
    throw new UsageError(
      "--share cannot be given beside this receipt: its job shared no samples, and the bytes would be others.",
    );
  const { "from-states": folders } = places;
  const layers = rangeOf(part);
  if (folders && layers === undefined)
    throw new UsageError("--from-states is for a receipt of a range of layers, and this one is of none.");
  const read = readPart({ layers, "from-states": folders });
  return { ...read, part: folders ? read.part : (part ?? null), share: given };
}

/** As `--layers` says it. */
function rangeOf(part: JobPart | undefined): string | undefined {
  if (part?.kind === "rest") return "rest";
  return part?.kind === "layers" ? `${part.first}..${part.last}` : undefined;
}

function sourceOf(
  { source: { repository, revision, address, label } }: Receipt,
  given: string | null,
): Source {
  if (given !== null) return readSource(given);
  if (address === null)
    throw new UsageError(
      `The receipt was made from files of a disk (${label}). Name the folder that they lie in as SOURCE.`,
    );
  // The commit that was read, whatever its branch holds by now. An address with a view of the Hub names a folder, too.
  const isId = repository !== null && address.split("@", 1)[0] === repository;
  return readSource(isId && revision !== null ? `${repository}@${revision}` : address);
}

function textOf(
  calibration: StatedCalibration | null,
  given: string | null,
  column: string | null,
): Replayed["calibrationFile"] {
  const kind = calibration?.source.kind;
  const needed = kind === "file" || kind === "stored";
  if (given !== null) {
    if (!needed) throw new UsageError("--calibration: the receipt says what to calibrate with, if anything.");
    return { path: readPath(given, "--calibration"), column };
  }
  if (calibration?.source.kind === "file")
    throw new UsageError(
      `The receipt’s calibration text lay on a disk: ${calibration.source.name}. Give it by --calibration.`,
    );
  if (kind === "stored")
    throw new UsageError(
      "The receipt does not say where its calibration text lay. Give it by --calibration.",
    );
  return null;
}
