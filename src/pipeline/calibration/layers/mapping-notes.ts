// What AWQ and SmoothQuant leave out in a model, or AWQ does otherwise than it was asked, as sentences for the plan.

import type { AwqModifier, RewritingModifier } from "../../../formats/recipe/recipe.ts";
import { type Mapping, sharedValues } from "../../../model/mappings.ts";
import { rewriterFor } from "../../../quantize/rewriters.ts";
import { type CalibratedLayer, demandOf } from "./calibrated-layer.ts";

export function mappingNotes(layers: readonly CalibratedLayer[]): string[] {
  const modifiers = layers.flatMap(({ rewritings }) => rewritings.map(({ modifier }) => modifier));
  const awq = modifiers.find((modifier) => modifier.name === "AWQModifier");
  const smoothing = modifiers.find((modifier) => modifier.name === "SmoothQuantModifier");
  return [
    ...(smoothing ? expertNotes(layers, smoothing) : []),
    ...(awq ? [...valueNotes(layers, awq), ...mambaNotes(layers, awq), ...blockNotes(layers, awq)] : []),
  ];
}

/** Layers whose experts SmoothQuant leaves alone; see `choose-mappings.ts`. */
function expertNotes(layers: readonly CalibratedLayer[], { mappings }: RewritingModifier): string[] {
  const count = layers.filter(({ description }) => description.feedForward?.kind === "experts").length;
  if (mappings !== null || count === 0) return [];
  return [
    `SmoothQuant leaves the inputs of experts in ${count} ${count === 1 ? "layer" : "layers"} as they are: one scale for all experts suits none of them. Name the norm before them in the recipe's mappings if they are to be smoothed all the same.`,
  ];
}

/** Layers whose input AWQ leaves alone; see `choose-mappings.ts`. */
function mambaNotes(layers: readonly CalibratedLayer[], { mappings }: AwqModifier): string[] {
  const count = layers.filter(({ description: { mixers } }) =>
    mixers.some(({ kind }) => kind === "mamba-2"),
  ).length;
  if (mappings !== null || count === 0) return [];
  return [
    `AWQ leaves the norm before Mamba-2 in ${count} ${count === 1 ? "layer" : "layers"} as it is: its time steps, gates and states share a Linear, whose error does not tell which scales are good.`,
  ];
}

function valueNotes(layers: readonly CalibratedLayer[], { mappings }: AwqModifier): string[] {
  const count = layers.filter(({ description }) => sharedValues(description).length > 0).length;
  if (mappings !== null || count === 0) return [];
  return [
    `AWQ leaves the inputs of ${count} attention output ${count === 1 ? "projection" : "projections"} as they are: a value head there serves several query heads, so that its channels have no factors of their own. LLM Compressor leaves them out, too.`,
  ];
}

/** Mappings whose block is asked for and not run. */
function blockNotes(layers: readonly CalibratedLayer[], { settings }: AwqModifier): string[] {
  if (settings.loss !== "block") return [];
  const others = layers.flatMap((layer) =>
    layer.rewritings.flatMap((rewriting) => {
      const run = rewriterFor(rewriting.modifier).blocks(demandOf(layer, rewriting))?.mappings ?? [];
      return rewriting.mappings.filter((mapping) => hasSeveral(layer, mapping) && !run.includes(mapping));
    }),
  );
  const [first] = others;
  if (!first) return [];
  return [
    `AWQ tells the scales of ${first.smooth}${others.length > 1 ? ` and ${others.length - 1} like it` : ""} apart by the errors of the Linears that read it, not by a block: latent attention, experts beside a shared one with a norm of its own, layers whose attention and MLP share a norm, and weights with scales for blocks of rows are not run for each scale.`,
  ];
}

/** Of one Linear that is quantized its own error is what its block gives out. */
function hasSeveral({ tasks }: CalibratedLayer, { balance }: Mapping): boolean {
  const quantized = new Set(tasks.map(({ module }) => module));
  return balance.filter(({ module }) => quantized.has(module)).length > 1;
}
