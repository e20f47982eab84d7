// The result's quantization-report.json: what was done, on what, and what it cost, so that a result can be judged without
// trusting the page that made it.

import type { ModuleReport, ServerNote } from "../api/compressor-api.ts";
import type { LongSubmit } from "../gpu/queue/long-submit.ts";

/** Linears whose columns were multiplied, and what was divided by the same factors. */
export interface ReportedMapping {
  readonly modifier: string;
  readonly smooth: string;
  readonly balance: readonly string[];
  /** Smallest and largest factor. */
  readonly scales: readonly [number, number];
  /** Where scales were searched for: what was chosen, and the relative squared error of outputs with and without it. */
  readonly search?: {
    readonly ratio: number;
    readonly duo: boolean;
    readonly loss: number;
    readonly unscaledLoss: number;
    /** True if the outputs are those of the block around. */
    readonly byBlock?: boolean;
  };
}

export interface ReportedCalibration {
  readonly samples: number;
  readonly tokens: number;
  readonly max_seq_length: number;
  readonly shuffle_calibration_samples: boolean;
  readonly seed: number;
  readonly propagate_error: boolean;
  readonly hidden_states_dtype: string;
  /** "F32", or the matrices of the units that they ran on: "16x16x16". */
  readonly forward_products: string;
  readonly moe_calibrate_all_experts: boolean;
  readonly moe_min_tokens_per_expert: number;
}

export interface ReportFacts {
  readonly source: {
    readonly label: string;
    readonly repository: string | null;
    readonly revision: string | null;
  };
  readonly schemes: readonly string[];
  readonly recipeYaml: string;
  readonly sourceBytes: number;
  readonly bitsPerWeight: number;
  readonly quantizedModules: number;
  readonly ignored: readonly string[];
  /** What servers would refuse of the result. */
  readonly serverNotes: readonly Pick<ServerNote, "server" | "modules" | "sentence">[];
  readonly calibration: ReportedCalibration | null;
  readonly mappings: readonly ReportedMapping[];
  readonly modules: readonly ModuleReport[];
  readonly peakGpuBytes: number;
  readonly gpuBudgetBytes: number;
  /** The submits that held the GPU longest, worst first. */
  readonly longestSubmits: readonly LongSubmit[];
  /** Seconds that submits held the GPU. */
  readonly gpuBusySeconds: number;
  readonly seconds: Readonly<Record<string, number>>;
}

/** Version of the file's layout: a reader refuses what it does not know. */
const LAYOUT = 1;

/** The report as JSON text; names as LLM Compressor's options have them, else in snake case. */
export function quantizationReport(facts: ReportFacts): string {
  const report = {
    layout: LAYOUT,
    made_by: "Layerpress",
    source: facts.source,
    schemes: facts.schemes,
    recipe: facts.recipeYaml,
    source_bytes: facts.sourceBytes,
    bits_per_weight: facts.bitsPerWeight,
    quantized_modules: facts.quantizedModules,
    ignore: facts.ignored,
    ...(facts.serverNotes.length > 0 ? { server_notes: facts.serverNotes.map(serverNote) } : {}),
    calibration: facts.calibration,
    mappings: facts.mappings.map(reportedMapping),
    totals: facts.modules.length > 0 ? lossTotals(facts.modules) : null,
    modules: facts.modules.map((module) => ({
      module: module.module,
      loss: module.rounded ? null : module.loss,
      rtn_loss: module.rounded ? null : module.rtnLoss,
      dampening_frac: module.dampeningFrac,
      attempts: module.attempts,
      dead_columns: module.deadColumns,
      tokens: module.tokens,
      rounded_to_nearest: module.rounded,
      seconds: module.seconds,
    })),
    gpu: {
      peak_bytes: facts.peakGpuBytes,
      budget_bytes: facts.gpuBudgetBytes,
      worst_submit_ms: facts.longestSubmits[0]?.milliseconds ?? 0,
      busy_seconds: facts.gpuBusySeconds,
      longest_submits: facts.longestSubmits.map(({ milliseconds, predictedMs, kernels }) => ({
        ms: milliseconds,
        predicted_ms: predictedMs,
        kernels,
      })),
    },
    seconds: facts.seconds,
  };
  return `${JSON.stringify(report, null, 2)}\n`;
}

function reportedMapping({ modifier, smooth, balance, scales: [least, most], search }: ReportedMapping) {
  return {
    modifier,
    smooth_layer: smooth,
    balance_layers: balance,
    least_scale: least,
    largest_scale: most,
    ...(search
      ? {
          ratio: search.ratio,
          duo_scaling: search.duo,
          loss: search.loss,
          unscaled_loss: search.unscaledLoss,
          ...(search.byBlock ? { loss_of: "block" } : {}),
        }
      : {}),
  };
}

function serverNote({ server, modules, sentence }: ReportFacts["serverNotes"][number]) {
  return { server, modules, sentence };
}

export interface LossTotals {
  /** Modules whose losses were measured. */
  readonly modules: number;
  /** Experts that too few tokens reached: they are in no sum. */
  readonly rounded_to_nearest: number;
  readonly loss: number;
  readonly rtn_loss: number;
  /** Module whose loss is the largest share of what rounding to nearest would have lost. */
  readonly worst_module: string;
  readonly worst_ratio: number;
}

/** Sums of the Hessian-weighted errors ½ tr(ΔW H ΔWᵀ) that were measured; a module without error by rounding counts as ratio 0. */
export function lossTotals(all: readonly ModuleReport[]): LossTotals {
  const modules = all.filter(({ rounded }) => !rounded);
  let worst = { module: "", ratio: 0 };
  for (const { module, loss, rtnLoss } of modules) {
    const ratio = rtnLoss > 0 ? loss / rtnLoss : 0;
    if (ratio >= worst.ratio) worst = { module, ratio };
  }
  return {
    modules: modules.length,
    rounded_to_nearest: all.length - modules.length,
    loss: modules.reduce((sum, { loss }) => sum + loss, 0),
    rtn_loss: modules.reduce((sum, { rtnLoss }) => sum + rtnLoss, 0),
    worst_module: worst.module,
    worst_ratio: worst.ratio,
  };
}
