import { UnsupportedModelError } from "../../../errors.ts";
import type { DecoderDescription, LayerDescription } from "../../../model/decoder-description.ts";
import { attentionNodes } from "./attention-nodes.ts";
import { gatedDeltaNetNodes } from "./gated-delta-net-nodes.ts";
import { latentAttentionNodes } from "./latent-attention-nodes.ts";
import { mamba2Nodes } from "./mamba-2-nodes.ts";
import type { MixerNodes } from "./mixer-nodes.ts";
import { shortConvolutionNodes } from "./short-convolution-nodes.ts";
import type { Mixer } from "../../../model/mixer-description.ts";

/**
 * The one place where graphs tell mixers by their kind.
 * @throws UnsupportedModelError naming a kind that onnxruntime's operators are not put together for.
 */
export function nodesOf(mixer: Mixer): MixerNodes {
  switch (mixer.kind) {
    case "attention":
      return attentionNodes(mixer);
    case "short-convolution":
      return shortConvolutionNodes(mixer);
    case "gated-delta-net":
      return gatedDeltaNetNodes(mixer);
    case "mamba-2":
      return mamba2Nodes(mixer);
    case "latent-attention":
      return latentAttentionNodes(mixer);
    default:
      throw unsupportedMixer(mixer);
  }
}

/**
 * Checks that graphs can be made of all layers, before anything is read.
 * @throws UnsupportedModelError as `nodesOf` does.
 */
export function checkMixers({ layers }: DecoderDescription): void {
  mixersOf(layers);
}

/** The parts of all mixers of these layers. @throws UnsupportedModelError as `nodesOf` does. */
export function mixersOf(layers: readonly LayerDescription[]): MixerNodes[] {
  return layers.flatMap(({ mixers }) => mixers.map(nodesOf));
}

function unsupportedMixer({ kind, module }: { kind: string; module: string }): UnsupportedModelError {
  return new UnsupportedModelError(
    `${module} is of the kind ${kind}, which evaluation cannot compute: this model can be quantized here, but not measured or tried.`,
  );
}
