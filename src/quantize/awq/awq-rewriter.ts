// AWQ as a rewriter. LLM Compressor runs a block again for each candidate; the Hessian of a Linear's input knows the error of its
// output, ‖X ΔWᵀ‖² = tr(ΔW XᵀX ΔWᵀ), so here the samples run once and each candidate costs a product. Errors count as shares of
// their Linear's output: queries and keys are large, values are small, and a block's output feels the errors of all.

import { AWQ } from "../../formats/modifiers/awq.ts";
import { CalibrationError, invariant } from "../../errors.ts";
import type { AwqModifier } from "../../formats/recipe.ts";
import { zeroAboveDiagonal } from "../../gpu/triangular/cholesky.ts";
import { readDiagonal } from "../../gpu/triangular/diagonal.ts";
import type { TriangularMatrix } from "../../gpu/triangular/triangular-matrix.ts";
import type { Capture } from "../../model/layer-linears.ts";
import type { Mapping } from "../../model/mappings.ts";
import type { QuantizerLimits } from "../quantizer.ts";
import {
  foldsOf,
  reportOf,
  type Rewriter,
  type RewriterDemand,
  type RewriterPass,
  type RewriterRun,
  type Rewritten,
} from "../rewriter.ts";
import { type Candidate, candidates, candidateScales, type MappingMeans } from "./candidates.ts";
import {
  candidateRanges,
  knownOf,
  relativeErrors,
  type SearchedLinear,
  type SearchServices,
  sharesScale,
  sumColumnShares,
} from "./search-linear.ts";
import { allocateSearch, type SearchedTask, searchBytes, shapeTasks } from "./search-memory.ts";

export const awqRewriter: Rewriter = {
  name: AWQ.name,
  hessians: ({ captures, tasks }) => {
    const quantized = new Set(tasks.map(({ module }) => module));
    return captures.filter(({ modules }) => modules.some((module) => quantized.has(module)));
  },
  work(demand) {
    const tried = candidates(settingsOf(demand)).length;
    const products = demand.mappings
      .flatMap((mapping) => searchedTasks(demand, mapping))
      .map(({ rows, columns }) => rows * columns ** 2);
    // Once more for the outputs that errors are compared with.
    return (tried + 1) * products.reduce((sum, each) => sum + each, 0);
  },
  bytes,
  async rewrite(run) {
    const searches = new Map<Mapping, Search>();
    await run.eachPass(async (pass) => {
      for (const mapping of run.mappings) {
        const captures = pass.captures.filter((capture) => reads(mapping, capture));
        const own = { ...pass, captures };
        if (captures.length > 0) await searchMapping(run, mapping, searches, own);
      }
    });
    return run.mappings.flatMap((mapping) => {
      const search = searches.get(mapping);
      return search ? [chosen(mapping, search)] : [];
    });
  },
};

function settingsOf({ modifier }: RewriterDemand): AwqModifier["settings"] {
  invariant(modifier.name === "AWQModifier", "its rewriter is asked for it");
  return modifier.settings;
}

function reads({ balance }: Mapping, { modules }: Capture): boolean {
  return balance.some(({ module }) => modules.includes(module));
}

/** The Linears of a mapping that are quantized. */
function searchedTasks({ tasks }: Pick<RewriterDemand, "tasks">, { balance }: Mapping) {
  return balance.flatMap(({ module }) => tasks.find((task) => task.module === module) ?? []);
}

function bytes(
  demand: RewriterDemand,
  pass: readonly Capture[],
  { freeBytes, maxBufferBytes }: QuantizerLimits,
): number | null {
  const total = candidates(settingsOf(demand)).length;
  const needed = demand.mappings
    .filter((mapping) => pass.some((capture) => reads(mapping, capture)))
    .map((mapping) =>
      searchBytes(shapeTasks(searchedTasks(demand, mapping), total, freeBytes, maxBufferBytes), total),
    );
  const most = Math.max(0, ...needed);
  return most <= freeBytes ? most : null;
}

/** What is known of a mapping while its Hessians come, maybe one after the other. */
interface Search {
  readonly tried: readonly Candidate[];
  readonly scales: readonly Float32Array<ArrayBuffer>[];
  /** Of each candidate, over all Linears so far: their relative errors, each as often as tokens came by. */
  readonly errors: Float64Array;
  /** How many those were. */
  readonly tokens: { count: number };
}

/** Adds to a mapping's losses what the Linears of a pass say; the first pass begins its search. */
async function searchMapping(
  run: RewriterRun,
  mapping: Mapping,
  searches: Map<Mapping, Search>,
  pass: RewriterPass,
): Promise<void> {
  await run.checkpoint();
  const { gpu, freeBytes } = run;
  const tried = candidates(settingsOf(run));
  const maxBufferBytes = gpu.device.limits.maxStorageBufferBindingSize;
  const shaped = shapeTasks(searchedTasks(run, mapping), tried.length, freeBytes, maxBufferBytes);
  using buffers = await allocateSearch(gpu, shaped, tried.length);
  const services = { ...run, buffers };
  const linears = shaped.map((each) => ({ ...each, rowsAt: rowsOf(run, mapping, each.task) }));
  let search = searches.get(mapping);
  if (!search) {
    run.begins(mapping);
    const means = await meansOf(run, mapping, linears, services);
    // Experts that no token reached tell nothing.
    if (!means) return;
    const scales = tried.map((candidate) => candidateScales(means, candidate));
    search = { tried, scales, errors: new Float64Array(tried.length), tokens: { count: 0 } };
    searches.set(mapping, search);
  }
  for (const [index, scales] of search.scales.entries()) {
    await run.uploads.write(bytesOf(scales), buffers.factors, index * mapping.columns * 4);
  }
  for (const capture of pass.captures) {
    const matrix = pass.hessian(capture);
    await zeroAboveDiagonal(gpu, matrix);
    await readDiagonal(gpu, matrix, buffers.diagonal);
    const reading = linears.filter(({ task }) => capture.modules.includes(task.module));
    await addErrors(services, reading, { matrix, tokens: pass.tokens(capture) }, search);
  }
  await gpu.queue.idle();
}

/** Linears of one capture; those that share a scale with others of it are looked at first. */
async function addErrors(
  services: SearchServices,
  linears: readonly (SearchedLinear & { readonly task: RewriterDemand["tasks"][number] })[],
  input: { readonly matrix: TriangularMatrix; readonly tokens: number },
  { errors, tokens }: Search,
): Promise<void> {
  const total = errors.length;
  const ranges = new Map<SearchedLinear, Awaited<ReturnType<typeof candidateRanges>>>();
  for (const linear of linears.filter(sharesScale)) {
    ranges.set(linear, await candidateRanges(services, linear, total));
  }
  for (const linear of linears) {
    const { fusedWith, module } = linear.task;
    const set = linears.filter(({ task }) => (task.fusedWith ?? task.module) === (fusedWith ?? module));
    const ofSet = set.map((each) => ranges.get(each) ?? []);
    const known = knownOf(linear, ranges.get(linear) ?? [], ofSet, total);
    await services.uploads.write(bytesOf(known), services.buffers.known);
    const own = await relativeErrors(services, linear, input.matrix, total);
    if (!own) continue;
    tokens.count += input.tokens;
    own.forEach((error, candidate) => (errors[candidate] = (errors[candidate] ?? 0) + error * input.tokens));
  }
}

function rowsOf(run: RewriterRun, { balance }: Mapping, { module }: SearchedTask): SearchedLinear["rowsAt"] {
  const linear = balance.find((each) => each.module === module);
  invariant(linear, `${module} is balanced`);
  return (firstRow, rows) => run.weight(linear, firstRow, rows).bytes;
}

/**
 * Mean activations and weights of a mapping's channels; null if no token came by.
 * @throws CalibrationError if an activation is NaN or infinite
 */
async function meansOf(
  run: RewriterRun,
  mapping: Mapping,
  linears: readonly SearchedLinear[],
  services: SearchServices,
): Promise<MappingMeans | null> {
  const { magnitude, tokens } = await run.channels(mapping);
  if (tokens === 0) return null;
  const bad = magnitude.findIndex((sum) => !Number.isFinite(sum));
  if (bad !== -1) {
    throw new CalibrationError(
      `Channel ${bad} of what ${mapping.smooth} gives out is NaN or infinite on the calibration text, so that no scale can be searched for it. Check the text and the model's weights; finished layers are kept.`,
    );
  }
  const x = magnitude.map((sum) => sum / tokens);
  const w = new Float64Array(mapping.columns);
  if (settingsOf(run).duo_scaling === false) return { x, w };
  const rows = linears.reduce((sum, { task }) => sum + task.rows, 0);
  for (const linear of linears) {
    const sums = await sumColumnShares(services, linear);
    for (let channel = 0; channel < w.length; channel++) {
      w[channel] = (w[channel] ?? 0) + (sums[channel] ?? 0) / rows;
    }
  }
  return { x, w };
}

/**
 * The candidate of least loss, the first of equal ones; where that is no scaling at all, nothing is folded.
 * @throws CalibrationError if no loss is finite
 */
function chosen(mapping: Mapping, { tried, scales, errors, tokens }: Search): Rewritten {
  const losses = errors.map((error) => error / Math.max(tokens.count, 1));
  let best = 0;
  for (let index = 0; index < losses.length; index++) {
    const loss = losses[index] ?? Number.NaN;
    if (Number.isFinite(loss) && !(loss >= (losses[best] ?? Number.NaN))) best = index;
  }
  const [loss, unscaledLoss] = [losses[best] ?? Number.NaN, losses[0] ?? Number.NaN];
  const [candidate, own] = [tried[best], scales[best]];
  invariant(candidate && own, "there are candidates");
  if (!Number.isFinite(loss)) {
    throw new CalibrationError(
      `Every scale that was tried for ${mapping.smooth} has an error that is NaN or infinite: activations or weights behind it overflow. Check the calibration text and the model's weights, or name mappings without it; finished layers are kept.`,
    );
  }
  const folds = own.every((scale) => scale === 1) ? [] : foldsOf(mapping, own);
  const search = { ratio: candidate.ratio, duo: candidate.duo, loss, unscaledLoss };
  return { folds, report: { ...reportOf(AWQ.name, mapping, own), search } };
}

function bytesOf({ buffer, byteOffset, byteLength }: Float32Array<ArrayBuffer>): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}
