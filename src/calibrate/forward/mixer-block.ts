import { invariant } from "../../errors.ts";
import type { LayerDescription, Linear, Mixer } from "../../model/decoder-description.ts";
import { feedForwardLinears, mlpInputLinears } from "../../model/layer-linears.ts";
import { factsOf } from "../../model/mixers/facts-of.ts";
import { blockInput, type ForwardPass, type HiddenRows, isWanted, joinResidual } from "./forward-pass.ts";
import { forwardOf } from "./mixers/forward-of.ts";

/** hidden += mixer(norm(hidden)) of each mixer, for the whole batch. Returns false if nothing after it is wanted. */
export async function mixerBlock(
  pass: ForwardPass,
  layer: LayerDescription,
  states: HiddenRows,
): Promise<boolean> {
  const { mixers, norms, parallel, feedForward } = layer;
  const { hooks, stopAtLastInput } = pass;
  if (mixers.length === 0) return true;
  const isKept = norms.mixerInput !== null && norms.mixerOutput === null;
  invariant(mixers.length === 1 || isKept, "mixers side by side see an input that none of them overwrites");
  const input = await blockInput(pass, norms.mixerInput, states);
  await hooks?.onInput?.(inputModules(layer), input);
  const later = laterLinears(layer);
  for (const [index, mixer] of mixers.entries()) {
    const after = [...mixers.slice(index + 1).flatMap(innerLinears), ...later];
    if (!isWanted(pass, [...innerLinears(mixer), ...after])) return false;
    const { output } = factsOf(mixer);
    const mixed = await forwardOf(mixer).mix(pass, input);
    await hooks?.onInput?.([output.module], mixed);
    if (!isWanted(pass, after)) return false;
    // The MLP of a parallel layer does not see what mixers add.
    if (stopAtLastInput && (parallel || feedForward === null)) continue;
    await joinResidual(pass, layer, { linear: output, norm: norms.mixerOutput }, mixed, states);
  }
  return true;
}

/** A mixer's Linears whose inputs come after the block's. */
function innerLinears(mixer: Mixer): readonly Linear[] {
  const { inputs, output } = factsOf(mixer);
  return [...inputs.slice(1).flat(), output];
}

/** Linears whose inputs come after the mixers. */
function laterLinears({ feedForward, parallel }: LayerDescription): readonly Linear[] {
  return parallel && feedForward?.kind === "mlp" ? [feedForward.down] : feedForwardLinears(feedForward);
}

/** All mixers see one input; in parallel layers the MLP sees it too. */
function inputModules({ mixers, feedForward, parallel }: LayerDescription): string[] {
  const shared = parallel && feedForward?.kind === "mlp" ? mlpInputLinears(feedForward.inputs) : [];
  return [...mixers.flatMap((mixer) => factsOf(mixer).inputs[0] ?? []), ...shared].map(
    ({ module }) => module,
  );
}
