// READ FIRST. The whole path on one page: a planned model goes through the GPU a layer at a time and becomes a folder.
//
//   source ranges -> onload -> (rewrite) -> (calibrate) -> offload, quantize (OPFS) -> (propagate) -> journal, next layer … -> package
//
// Where things join: a family of models is a description of its layers (`src/model/families`), whose mixers and feed-forward
// blocks `calibrate` and `propagate` run; an algorithm is a modifier (`src/quantize/quantizer.ts`), which says what `calibrate`
// collects for it and does its part in `quantize`.
//
// `reduce` and `awaitModules` do something where several jobs share the samples of one model, and nothing elsewhere.
//
// A run may make several results at once: each layer comes once, its statistics are collected once, and every result is quantized
// from them; hidden states follow one of them. A step that a result's journal knows is not done again, so the loop is also the
// resume. If the GPU is lost, a new device goes on from the last finished layer.

import type { ResultSummary } from "../api/compressor-api.ts";
import { createLifetime, type Lifetime } from "../disposal.ts";
import { endedBy } from "../ended-by.ts";
import { openOutputFolder } from "../offload/job-folder.ts";
import { OutputStore } from "../offload/output-store.ts";
import { runDataFree } from "./data-free/run-data-free.ts";
import { keepRows } from "./job/embedding-rows.ts";
import { createFigures, type GpuFigures, type Job } from "./job/job.ts";
import { type OpenedResult, openResult, openRunFolder, type RunFolder } from "./job/open-run.ts";
import { skipFinished, survivingLoss } from "./job/survive-loss.ts";
import { runsOf } from "./planning/runs-of.ts";
import { finishResult } from "./result/finish-result.ts";
import { withPresentSizes } from "./result/record-quality.ts";
import { calibrate } from "./sequential/passes/calibrate.ts";
import { type LayerAtWork, type LayerTurn, onload } from "./sequential/layer-at-work.ts";
import { offload } from "./sequential/passes/offload.ts";
import { passLayer } from "./sequential/pass-layer.ts";
import { propagate } from "./sequential/passes/propagate.ts";
import { quantize } from "./sequential/passes/quantize.ts";
import { reduce } from "./sequential/exchange/reduce.ts";
import { rewrite } from "./sequential/rewriting/rewrite.ts";
import { type CompressedLayer, runSequential } from "./sequential/run-sequential.ts";
import { awaitModules } from "./sequential/exchange/share-modules.ts";

/** One decoder layer of a job that calibrates. Weights that need no text go the shorter way of `runDataFree`, tile by tile. */
async function compressLayer(turn: LayerTurn): Promise<CompressedLayer> {
  if (turn.passed) return await passLayer(turn);
  using layer = await onload(turn);
  return await endedBy(
    async () => await workOn(layer),
    // What is being rounded is made of weights that go with the layer.
    async () => void (await Promise.allSettled(layer.rounding)),
  );
}

async function workOn(layer: LayerAtWork): Promise<CompressedLayer> {
  await rewrite(layer);
  // Carried tensors are those of the source, before what samples run through is put in their place.
  for (const output of layer.outputs) await offload(layer, output);
  await using others = awaitModules(layer);
  for (const pass of layer.passes) {
    using statistics = await calibrate(layer, pass);
    if (pass.ends) await layer.gone();
    await reduce(layer, pass, statistics);
    others.begin();
    for (const output of layer.outputs) await quantize(layer, output, pass, statistics);
  }
  await others.take();
  const recordable = await propagate(layer);
  await Promise.all(layer.rounding);
  await others.written();
  const { rewritten: mappings, folded } = layer;
  return { mappings, folds: folded.folds, recordable };
}

/**
 * Runs a job, or goes on with it, until its result lies in OPFS.
 * @param job what samples and tiles go by: the plan of the result that hidden states follow, with room for all
 * @param results the jobs whose results are written, each as if it were alone; the job's own if absent
 */
export async function compress(job: Job, results: readonly Job[] = [job]): Promise<ResultSummary[]> {
  using lifetime = createLifetime();
  const opened: OpenedResult[] = [];
  for (const result of results) opened.push(lifetime.use(await openResult(result)));
  const figures = createFigures();
  if (opened.some(({ finished }) => !finished)) {
    using run = await openRunFolder(opened);
    await runSteps(job, opened, run, figures);
    await run.forget();
  }
  const summaries: ResultSummary[] = [];
  for (const { job: own, folder, journal, finished } of opened) {
    const made = finished ?? (await finishResult(own, journal, await openOutputFolder(folder), figures));
    summaries.push(finished ? await withPresentSizes(made) : made);
  }
  return summaries;
}

async function runSteps(
  job: Job,
  opened: readonly OpenedResult[],
  { folder, journal }: RunFolder,
  figures: GpuFigures,
): Promise<void> {
  using lifetime = createLifetime();
  const results = await openStores(opened, lifetime);
  const to = { folder, journal, results, figures, embedding: keepRows(job) };
  skipFinished(job, to);
  for (const { calibrated, steps } of runsOf(job.plan)) {
    await survivingLoss(job, to, async () => {
      if (calibrated) await runSequential(job, steps, to, compressLayer);
      else await runDataFree(job, steps, to);
    });
  }
}

/** Takes the room of all results that are not finished. */
async function openStores(opened: readonly OpenedResult[], lifetime: Lifetime) {
  const results = [];
  for (const { job, folder, journal, finished } of opened) {
    if (finished) continue;
    const output = await openOutputFolder(folder);
    const store = lifetime.use(await OutputStore.open(output, job.plan.output.shards));
    results.push({ job, store, journal });
  }
  return results;
}
