// A layer that samples run through on their way to others: its weights stay the original ones, nothing of it is written, and what
// comes out is kept where it is asked for.

import { type LayerTurn, onload } from "./layer-at-work.ts";
import { propagate } from "./passes/propagate.ts";
import type { CompressedLayer } from "./run-sequential.ts";

export async function passLayer(turn: LayerTurn): Promise<CompressedLayer> {
  using layer = await onload(turn);
  const recordable = await propagate(layer);
  const next = turn.index + 1;
  if (turn.services.keepsStates(next)) await turn.services.keepStates(next);
  return { mappings: [], folds: [], recordable };
}
