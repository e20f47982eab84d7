import type { LayerDescription } from "../../../model/decoder-description.ts";
import { blockInput, type ForwardPass, type HiddenRows } from "../forward-pass.ts";
import type { Linear } from "../../../model/weight-description.ts";

/** Shows hooks what the head reads, and computes nothing of it. */
export async function headInput(
  pass: ForwardPass,
  { norms }: LayerDescription,
  head: Linear,
  states: HiddenRows,
): Promise<void> {
  if (!pass.hooks?.onInput) return;
  await pass.hooks.onInput([head.module], await blockInput(pass, norms.feedForwardInput, states));
}
