// Lets a modifier glance at a block: while samples run through a layer, the block is run with each variant of its weights on the first
// tokens that come to it. That tells variants apart nearly as well as all tokens would, and costs next to nothing.

import { openBlockLosses } from "../../../calibrate/blocks/block-losses.ts";
import type { ForwardPass } from "../../../calibrate/forward/forward-pass.ts";
import type { Activations, ForwardHooks } from "../../../calibrate/forward/layer-weights.ts";
import { createBatch } from "../../../calibrate/forward/token-batch.ts";
import { openTogether } from "../../../disposal.ts";
import { invariant } from "../../../errors.ts";
import type { BlockVariants, Glance, GlancedWeights } from "../../../quantize/rewriter.ts";
import { glancedLengths, glanceTokens } from "../../calibration/costs/glance-bytes.ts";
import type { LayerAtWork } from "../layer-at-work.ts";
import { variedBlock } from "./run-blocks.ts";

export interface GlanceAtWork extends Disposable {
  /** The hooks of a pass, and the glance behind them. */
  hooksIn(pass: ForwardPass): ForwardHooks;
  /** Of each variant what the block loses, as a share of what it gives out. */
  read(): Promise<Float64Array>;
}

export async function openGlance({ layer, services }: LayerAtWork, glance: Glance): Promise<GlanceAtWork> {
  const { gpu, uploads, readbacks } = services;
  const { mapping, count } = glance;
  const [first] = services.batches;
  invariant(first, "there are samples");
  const all = services.batches.reduce((sum, { rows }) => sum + rows.tokens, 0);
  return await openTogether(async (parts) => {
    const lengths = glancedLengths(first.rows, glanceTokens(all));
    const batch = parts.use(await createBatch(gpu, uploads, lengths));
    const { tokens } = batch;
    let given: GlancedWeights | null = null;
    const replace: BlockVariants["replace"] = (...asked) => given?.replace(...asked) ?? null;
    const size = { tokens, mlpTokens: tokens, hiddenSize: layer.description.hiddenSize };
    const block = variedBlock({ mapping, count, replace }, false);
    const losses = parts.use(await openBlockLosses(gpu, layer.description, [block], size));
    const look = async (pass: ForwardPass, modules: readonly string[], input: Activations) => {
      const isIts = mapping.balance.some(({ module }) => modules.includes(module));
      if (given || !isIts) return;
      given = parts.use(await glance.begin());
      await losses.hooksIn({ ...pass, batch }).onInput?.(modules, { ...input, rows: tokens });
    };
    return {
      hooksIn: (pass: ForwardPass): ForwardHooks => ({
        ...pass.hooks,
        async onInput(modules, input) {
          await pass.hooks?.onInput?.(modules, input);
          await look(pass, modules, input);
        },
      }),
      read: async () => (await losses.read(readbacks))[0] ?? new Float64Array(),
    };
  });
}
