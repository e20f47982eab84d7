// What a compression job writes into its journal, and reads back to go on or to be listed.

import type { Journal, JournalRecord, JournalRecords } from "../../offload/journal.ts";
import type { MappingReport } from "../../quantize/rewriter.ts";
import type { PlanStep } from "../../plan/plan-steps.ts";
import type { PlannedStep } from "../planning/planned-step.ts";
import type { ModuleReport, ResultSummary, StoredJob } from "../../api/compressor-api.ts";
import { type Fold, restoreFolds, type StoredFold } from "../../formats/weights/fold.ts";
import { publicAddress } from "./public-address.ts";
import { receiptFacts } from "./receipt-facts.ts";
import type { ReceiptFacts } from "../../api/receipt.ts";
import type { JobOptions } from "../../api/job-options.ts";
import type { Job } from "./job.ts";

interface JobRecord extends JournalRecord {
  readonly type: "job";
  readonly label: string;
  readonly scheme: string;
  readonly steps: number;
  readonly address: string | null;
  readonly addressShortened: boolean;
  readonly options: JobOptions;
  /** What a receipt says of the job; absent in journals of earlier versions. */
  readonly receipt?: ReceiptFacts;
}

/** Writes the first record, unless an earlier run did. The folder's name is the plan's digest, so the plan is the same. */
export async function beginJournal(journal: Journal, job: Job): Promise<void> {
  if (journal.records.length > 0) return;
  const { model, plan, options } = job;
  const { reference } = model;
  const kept = reference.kind === "address" ? publicAddress(reference.address) : null;
  const record: JobRecord = {
    type: "job",
    label: model.source.label,
    scheme: plan.schemes.join(" + "),
    steps: plan.steps.length,
    address: kept?.address ?? null,
    addressShortened: kept?.shortened ?? false,
    options: storable(options, plan.jobId),
    receipt: await receiptFacts(job, kept?.address ?? null),
  };
  journal.append(record);
}

/** What the first run wrote down for a receipt, or null. */
export function recordedReceipt(records: readonly JournalRecord[]): ReceiptFacts | null {
  const first = records.find((record): record is JobRecord => record.type === "job");
  return first?.receipt ?? null;
}

/** Files cannot be written down; the token ids of a calibration's lie in the job's folder. */
function storable(options: JobOptions, jobId: string): JobOptions {
  const { recipe, calibration, gpuBudgetBytes, hostBudgetBytes, keepSource, part, along } = options;
  return {
    recipe,
    calibration: calibration && { ...calibration, source: { kind: "stored", jobId } },
    gpuBudgetBytes,
    ...(hostBudgetBytes !== undefined && { hostBudgetBytes }),
    keepSource,
    ...(part && { part }),
    ...(along && { along }),
  };
}

/** What the forward products of a job's first run were computed on: "F32", or the shape of matrices. Null if none has begun. */
export function recordedForward(journal: Pick<JournalRecords, "records">): string | null {
  const record = journal.records.find(({ type }) => type === "forward");
  return record ? String(record["products"]) : null;
}

export function recordForward(journal: JournalRecords, products: string): void {
  journal.append({ type: "forward", products });
}

/** What is remembered of a finished step beside its being finished. */
export interface StepRecord {
  readonly modules?: readonly ModuleReport[];
  /** What modifiers moved between the step's tensors. */
  readonly mappings?: readonly MappingReport[];
  /** What modifiers folded into the step's tensors: what it is verified against. */
  readonly folds?: readonly StoredFold[];
  readonly seconds?: number;
  /** True if the hidden states behind the step lie in the folder of a run, with those of no other result. */
  readonly apart?: boolean;
}

export function recordStep(journal: JournalRecords, step: PlanStep, record: StepRecord): void {
  journal.append({ type: "step", index: step.index, name: step.name, ...record });
}

/**
 * Finished decoder layers, which is the generation of the hidden states beside this journal; 0 where the last of them was
 * finished by a run that kept its states elsewhere.
 */
export function finishedGenerations(journal: JournalRecords, steps: readonly PlannedStep[]): number {
  const finished = steps.filter((step) => step.calibrated && isFinished(journal, step));
  const last = finished.at(-1);
  const record = last && journal.records.find(({ type, index }) => type === "step" && index === last.index);
  return record?.["apart"] ? 0 : finished.length;
}

/** Reports of all modules that earlier runs and this one quantized with calibration. */
export function recordedModules(journal: JournalRecords): ModuleReport[] {
  return journal.records.flatMap((record) =>
    record.type === "step" ? ((record as StepRecord).modules ?? []) : [],
  );
}

/** Reports of all mappings along which factors were moved, by earlier runs and this one. */
export function recordedMappings(journal: JournalRecords): MappingReport[] {
  return journal.records.flatMap((record) =>
    record.type === "step" ? ((record as StepRecord).mappings ?? []) : [],
  );
}

/** What modifiers folded into tensors, by the tensor's name. */
export function recordedFolds(journal: JournalRecords): ReadonlyMap<string, readonly Fold[]> {
  const folds = new Map<string, Fold[]>();
  for (const record of journal.records) {
    if (record.type !== "step") continue;
    for (const fold of restoreFolds((record as StepRecord).folds ?? [])) {
      const own = folds.get(fold.tensor);
      if (own) own.push(fold);
      else folds.set(fold.tensor, [fold]);
    }
  }
  return folds;
}

export function isFinished(journal: JournalRecords, step: Pick<PlanStep, "index">): boolean {
  return journal.records.some((record) => record.type === "step" && record["index"] === step.index);
}

export function recordResult(journal: Journal, result: ResultSummary): void {
  journal.append({ type: "result", result });
}

/** The summary of a job that is already done, or null. */
export function finishedResult(journal: {
  readonly records: readonly JournalRecord[];
}): ResultSummary | null {
  const record = journal.records.find(({ type }) => type === "result");
  return record ? (record["result"] as ResultSummary) : null;
}

/** A line for the page's list of jobs; null for a journal without its first record. */
export function storedJob(jobId: string, records: readonly JournalRecord[], bytes: number): StoredJob | null {
  const first = records.find((record): record is JobRecord => record.type === "job");
  if (!first) return null;
  return {
    jobId,
    label: first.label,
    scheme: first.scheme,
    finishedSteps: records.filter(({ type }) => type === "step").length,
    steps: first.steps,
    done: finishedResult({ records }) !== null,
    bytes,
    address: first.address,
    addressShortened: first.addressShortened,
    options: first.options,
  };
}
