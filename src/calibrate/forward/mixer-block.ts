import { invariant } from "../../errors.ts";
import type { LayerDescription } from "../../model/decoder-description.ts";
import { feedForwardLinears, mlpInputLinears, sharesInput, tokenLinears } from "../../model/layer-linears.ts";
import { factsOf } from "../../model/mixers/facts-of.ts";
import {
  applyNorm,
  blockInput,
  type ForwardPass,
  hiddenMatrix,
  type HiddenRows,
  isWanted,
  joinResidual,
  normedMatrix,
} from "./forward-pass.ts";
import { forwardOf } from "./mixers/forward-of.ts";
import type { Linear } from "../../model/weight-description.ts";
import type { Mixer } from "../../model/mixer-description.ts";

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
    const forward = forwardOf(mixer);
    const mixed = await forward.mix(pass, input, states);
    // Nothing asks for the mixers' input any more, and the hidden states are still those before them.
    const own = parallel && index === mixers.length - 1 ? norms.feedForwardInput : null;
    if (own) await applyNorm(pass, own, hiddenMatrix(states), normedMatrix(pass, states));
    await hooks?.onInput?.([output.module], mixed);
    if (!isWanted(pass, after)) return false;
    // The MLP of a parallel layer does not see what mixers add.
    if (stopAtLastInput && (parallel || feedForward === null)) continue;
    const { outputInParts: inParts = false } = forward;
    const end = { linear: output, norm: norms.mixerOutput, factor: mixer.outputFactor ?? 1, inParts };
    await joinResidual(pass, layer, end, mixed, states);
  }
  return true;
}

/** A mixer's Linears whose inputs come after the block's. */
function innerLinears(mixer: Mixer): readonly Linear[] {
  const { inputs, output } = factsOf(mixer);
  return [...inputs.slice(1).flat(), output];
}

/** Linears whose inputs come after the mixers. */
function laterLinears(layer: LayerDescription): readonly Linear[] {
  const { feedForward } = layer;
  const fed =
    sharesInput(layer) && feedForward?.kind === "mlp" ? [feedForward.down] : feedForwardLinears(feedForward);
  return [...fed, ...tokenLinears(layer)];
}

/** All mixers see one input; in parallel layers with one norm the MLP sees it too. */
function inputModules(layer: LayerDescription): string[] {
  const { mixers, feedForward } = layer;
  const shared = sharesInput(layer) && feedForward?.kind === "mlp" ? mlpInputLinears(feedForward.inputs) : [];
  return [...mixers.flatMap((mixer) => factsOf(mixer).inputs[0] ?? []), ...shared].map(
    ({ module }) => module,
  );
}
