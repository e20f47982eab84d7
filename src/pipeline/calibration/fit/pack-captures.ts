import type { Capture } from "../../../model/layer-linears.ts";
import type { OnloadPhase } from "../costs/calibration-memory.ts";

/**
 * How captures are packed into passes: into as few as fit, or into as few beside which all weights stay on the GPU. A pass more costs
 * what the samples take up to its last input; a weight that does not stay comes anew for each batch.
 */
export type Packing = "fewest" | "resident";

/** True if a pass that takes so much is one that may be made. */
export function isPacked(onload: OnloadPhase | null, packing: Packing): boolean {
  return onload !== null && (packing === "fewest" || onload.streamed.length === 0);
}

/**
 * Captures in as few passes as fit, in the order in which the forward pass meets them. What has no room has none with more captures
 * either, so that the last capture of a pass is looked for by halves: layers of experts have hundreds.
 * @param fits is not asked about a single capture, which is a pass whether or not it fits
 */
export function packCaptures(
  captures: readonly Capture[],
  fits: (pass: readonly Capture[]) => boolean,
): Capture[][] {
  const passes: Capture[][] = [];
  for (let left = [...captures]; left.length > 0;) {
    let [fitting, tooMany] = [1, left.length + 1];
    // Mostly all of them fit.
    for (
      let next = left.length;
      next > fitting && next < tooMany;
      next = Math.floor((fitting + tooMany) / 2)
    ) {
      if (fits(left.slice(0, next))) fitting = next;
      else tooMany = next;
    }
    passes.push(left.slice(0, fitting));
    left = left.slice(fitting);
  }
  return passes;
}
