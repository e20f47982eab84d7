// Lets a modifier see what a layer's blocks give out with each variant of their weights, in one run of the samples.

import { openBlockLosses, type VariedBlock } from "../../../calibrate/blocks/block-losses.ts";
import { invariant } from "../../../errors.ts";
import type { Mapping } from "../../../model/mappings.ts";
import type { BlockVariants } from "../../../quantize/rewriter.ts";
import type { CalibratedLayer } from "../../calibration/layers/calibrated-layer.ts";
import type { RewritePass } from "../../calibration/fit/fit-rewritings.ts";
import type { LayerAtWork } from "../layer-at-work.ts";
import { goneRewriting, leaveRewriting, seenByRewriters } from "../passes/run-original.ts";
import { runSamples } from "../passes/run-samples.ts";

/** Runs the samples once more, and blocks with each variant of their weights on what comes to them. */
export async function runBlocks(
  work: LayerAtWork,
  passes: readonly RewritePass[],
  variants: readonly BlockVariants[],
): Promise<ReadonlyMap<Mapping, Float64Array>> {
  const { layer, services, collections } = work;
  const { gpu, workspace, readbacks } = services;
  const pass = passes.find(({ runsBlocks }) => runsBlocks);
  invariant(pass, "a run of blocks is planned");
  const { tokens } = workspace.plan.size;
  const size = { tokens, mlpTokens: workspace.plan.mlpTokens, hiddenSize: layer.description.hiddenSize };
  const blocks = variants.map((each) => variedBlock(each, isRouterQuantized(layer)));
  using losses = await openBlockLosses(gpu, layer.description, blocks, size);
  const save = pass.propagates && !work.isLast ? leaveRewriting(work) : null;
  await runSamples(work, {
    ...seenByRewriters(work),
    needed: { linears: layer.linears, residency: pass.residency },
    each: save ?? (async () => await services.checkpoint()),
    collect: {
      wanted: new Set(variants.flatMap(({ mapping }) => mapping.balance.map(({ module }) => module))),
      experts: "all",
      stopAtLastInput: save === null,
    },
    hooksIn: (forward) => losses.hooksIn(forward),
    report: (detail, done) => services.report("calibrating", detail, done / collections),
  });
  if (pass.propagates) await goneRewriting(work);
  const found = await losses.read(readbacks);
  return new Map(variants.map(({ mapping }, index) => [mapping, found[index] ?? new Float64Array()]));
}

function isRouterQuantized({ description: { feedForward }, tasks }: CalibratedLayer): boolean {
  return feedForward?.kind === "experts" && tasks.some(({ module }) => module === feedForward.router.module);
}

/** Of a mapping, the block that is run with variants of its weights. */
export function variedBlock(
  { mapping, count, together, replace }: BlockVariants,
  reroutes: boolean,
): VariedBlock {
  invariant(mapping.block, "the mapping has a block");
  return {
    kind: mapping.block,
    readers: mapping.balance.map(({ module }) => module),
    variants: count,
    ...(together && { together }),
    reroutes,
    weights: (own, variant) => ({
      async *rowTiles(module) {
        for await (const rows of own.rowTiles(module)) yield* replace(module, rows, variant) ?? [rows];
      },
      vector: async (tensor) => await own.vector(tensor),
    }),
  };
}
