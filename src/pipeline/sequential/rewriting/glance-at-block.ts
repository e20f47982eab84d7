// Lets a modifier glance at a block: while samples run through a layer, the block's input is kept for the first tokens; when all have
// come by, and the modifier knows what channels reach over all of them, the block is run on what was kept with each variant of its
// weights. That tells variants apart nearly as well as all tokens would, costs next to nothing, and takes no run of its own.

import { mostTokens } from "../../../calibrate/batches.ts";
import { openBlockLosses } from "../../../calibrate/blocks/block-losses.ts";
import { copyColumns } from "../../../calibrate/forward/copy-columns/copy-columns.ts";
import type { ForwardPass } from "../../../calibrate/forward/forward-pass.ts";
import type { Activations, ForwardHooks } from "../../../calibrate/forward/layer-weights.ts";
import { createBatch, type TokenBatch } from "../../../calibrate/forward/token-batch.ts";
import { type Lifetime, openTogether } from "../../../disposal.ts";
import type { BlockVariants, Glance, GlancedWeights } from "../../../quantize/rewriter.ts";
import {
  glancedLengths,
  type GlancePiece,
  glancePieces,
  keptInputBytes,
} from "../../calibration/costs/glance-bytes.ts";
import type { LayerAtWork } from "../layer-at-work.ts";
import { variedBlock } from "./run-blocks.ts";

export interface GlanceAtWork extends Disposable {
  /** The hooks of a pass, and the glance behind them. */
  hooksIn(pass: ForwardPass): ForwardHooks;
  /** Of each variant what the block loses, as a share of what it gives out. */
  read(): Promise<Float64Array>;
}

export async function openGlance({ layer, services }: LayerAtWork, glance: Glance): Promise<GlanceAtWork> {
  const { gpu, readbacks, batches, workspace } = services;
  const { mapping, count } = glance;
  const { hiddenSize } = layer.description;
  const all = batches.reduce((sum, { rows }) => sum + rows.tokens, 0);
  return await openTogether(async (parts) => {
    const glanced = glancedLengths(batches.flatMap(({ tokens }) => tokens.lengths));
    const bytes = keptInputBytes(glanced, hiddenSize);
    const buffer = parts.use(
      await gpu.memory.allocate({ label: "input of a block that is glanced at", bytes }),
    );
    const kept = { buffer, rows: bytes / hiddenSize / 4, columns: hiddenSize, stride: hiddenSize };
    const pieces = await openPieces(services, glancePieces(glanced, workspace.plan.size.tokens), parts);
    const tokens = mostTokens(pieces);
    let given: GlancedWeights | null = null;
    const replace: BlockVariants["replace"] = (...asked) => given?.replace(...asked) ?? null;
    const block = variedBlock({ mapping, count, replace }, false);
    const size = { tokens, mlpTokens: tokens, hiddenSize };
    const losses = parts.use(await openBlockLosses(gpu, layer.description, [block], size));
    let seen = 0;
    const look = async (pass: ForwardPass, modules: readonly string[], input: Activations) => {
      if (!mapping.balance.some(({ module }) => modules.includes(module))) return;
      const rows = Math.min(input.rows, Math.max(kept.rows - seen, 0));
      if (rows > 0) await copyColumns(gpu, input, { ...kept, rows, offset: seen * hiddenSize });
      seen += input.rows;
      if (seen < all) return;
      given = parts.use(await glance.begin());
      for (const { batch, firstToken } of pieces) {
        const part = { ...kept, rows: batch.tokens, offset: firstToken * hiddenSize };
        await losses.hooksIn({ ...pass, batch }).onInput?.(modules, part);
      }
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

async function openPieces(
  { gpu, uploads }: LayerAtWork["services"],
  pieces: readonly GlancePiece[],
  parts: Lifetime,
): Promise<(GlancePiece & { readonly batch: TokenBatch })[]> {
  const opened = [];
  for (const piece of pieces)
    opened.push({ ...piece, batch: parts.use(await createBatch(gpu, uploads, piece.lengths)) });
  return opened;
}
