// AWQ as a rewriter. LLM Compressor runs a block again for each candidate; the Hessian of a Linear's input knows the error of its
// output, ‖X ΔWᵀ‖² = tr(ΔW XᵀX ΔWᵀ), so here the samples run once and each candidate costs a product. Errors count as shares of
// their Linear's output: queries and keys are large, values are small, and a block's output feels the errors of all.

import { AWQ } from "../../formats/modifiers/awq.ts";
import { CalibrationError, invariant } from "../../errors.ts";
import type { AwqModifier } from "../../formats/recipe.ts";
import { prepareMatmul } from "../../gpu/matmul/matmul.ts";
import type { Capture } from "../../model/layer-linears.ts";
import type { Mapping } from "../../model/mappings.ts";
import { codeConstants } from "../encode/code-values.ts";
import type { QuantizerLimits } from "../quantizer.ts";
import { foldsOf, reportOf, type Rewriter, type RewriterDemand, type Rewritten } from "../rewriter.ts";
import { candidateErrorsKernel } from "./awq-kernels.ts";
import { candidates } from "./candidates.ts";
import { type Search, searchPass } from "./search-mappings.ts";
import { searchBytes, searchGroups } from "./search-memory.ts";

export const awqRewriter: Rewriter = {
  name: AWQ.name,
  hessians: ({ captures, tasks }) => {
    const quantized = new Set(tasks.map(({ module }) => module));
    return captures.filter(({ modules }) => modules.some((module) => quantized.has(module)));
  },
  work(demand) {
    const tried = candidates(settingsOf(demand)).length;
    const products = demand.mappings
      .flatMap((mapping) => searchedOf(demand, mapping).tasks)
      .map(({ rows, columns }) => rows * columns ** 2);
    // Once more for the outputs that errors are compared with.
    return (tried + 1) * products.reduce((sum, each) => sum + each, 0);
  },
  bytes,
  prepare(gpu, { tasks }) {
    prepareMatmul(gpu, { bTransposed: false, accumulate: true });
    for (const { weights } of tasks) gpu.queue.prepare(candidateErrorsKernel, codeConstants(weights));
  },
  async rewrite(run) {
    const searches = new Map<Mapping, Search>();
    const tried = candidates(settingsOf(run));
    const duo = settingsOf(run).duo_scaling !== false;
    await run.eachPass(async (pass) => {
      const searched = run.mappings
        .filter((mapping) => pass.captures.some((capture) => reads(mapping, capture)))
        .map((mapping) => searchedOf(run, mapping));
      for (const group of searchGroups(searched, tried.length)) {
        await searchPass({ run, pass, group, tried, duo }, searches);
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

/** A mapping with those of its Linears that are quantized. */
function searchedOf({ tasks }: Pick<RewriterDemand, "tasks">, mapping: Mapping) {
  const { balance, columns } = mapping;
  const own = balance.flatMap(({ module }) => tasks.find((task) => task.module === module) ?? []);
  return { mapping, columns, tasks: own };
}

function bytes(
  demand: RewriterDemand,
  pass: readonly Capture[],
  { freeBytes, maxBufferBytes }: QuantizerLimits,
): number | null {
  const total = candidates(settingsOf(demand)).length;
  const searched = demand.mappings
    .filter((mapping) => pass.some((capture) => reads(mapping, capture)))
    .map((mapping) => searchedOf(demand, mapping));
  const needed = searchGroups(searched, total).map((group) =>
    searchBytes(group, total, freeBytes, maxBufferBytes),
  );
  const most = Math.max(0, ...needed);
  return most <= freeBytes ? most : null;
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
