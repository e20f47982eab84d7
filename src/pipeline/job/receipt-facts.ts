import type { CalibrationSet } from "../../calibrate/select-sequences.ts";
import { requestAdapter, summarizeAdapter } from "../../gpu/gpu.ts";
import { buildFacts } from "../../package/build-facts.ts";
import type { JobOptions } from "../../api/job-options.ts";
import type { ReceiptFacts, StatedOptions } from "../../api/receipt.ts";
import type { Job } from "./job.ts";

/** What a receipt says of a job before it begins: of its output it knows nothing yet. */
export async function receiptFacts(
  { model, plan, options }: Job,
  address: string | null,
): Promise<ReceiptFacts> {
  const { label, repository, revision, files } = model.source;
  const { vendor, architecture, description, software } = summarizeAdapter(await requestAdapter());
  const set = plan.calibration?.set ?? null;
  return {
    made_by: buildFacts(),
    source: {
      address,
      label,
      repository,
      revision,
      files: files.map(({ path, bytes, version }) => ({ path, bytes, version: version ?? null })),
    },
    recipe: plan.recipeYaml,
    options: statedOptions(options),
    calibration: set && {
      samples: set.sequences.length,
      tokens: set.tokens,
      sha256: await digestOf(set),
    },
    adapter: { vendor, architecture, description, software },
  };
}

/** Options that decide about the result: of a file only its name, as its text stays where it is. */
function statedOptions({
  recipe,
  calibration,
  gpuBudgetBytes,
  along,
  part,
  share,
}: JobOptions): StatedOptions {
  return {
    recipe,
    calibration: calibration && { ...calibration, source: statedSource(calibration.source) },
    gpu_budget_bytes: gpuBudgetBytes,
    ...(along && { along }),
    ...(part && { part }),
    ...(share && { share: { index: share.index, of: share.of } }),
  };
}

type Calibration = NonNullable<JobOptions["calibration"]>;

function statedSource(source: Calibration["source"]): NonNullable<StatedOptions["calibration"]>["source"] {
  if (source.kind === "file") return { kind: "file", name: source.file.name, column: source.column };
  return source.kind === "stored" ? { kind: "stored" } : source;
}

/** SHA-256 over each sequence's length and its ids, all as 32-bit little-endian numbers. */
async function digestOf({ sequences, tokens }: CalibrationSet): Promise<string> {
  const bytes = new DataView(new ArrayBuffer(4 * (sequences.length + tokens)));
  let at = 0;
  const put = (value: number) => {
    bytes.setUint32(at, value, true);
    at += 4;
  };
  for (const sequence of sequences) {
    put(sequence.length);
    for (const id of sequence) put(id);
  }
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes.buffer));
  return Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
