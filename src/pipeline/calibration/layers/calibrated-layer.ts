// A decoder layer as a calibrated job sees it.

import type { FloatDtype } from "../../../formats/numbers/dtype.ts";
import type { RewritingModifier } from "../../../formats/recipe/recipe.ts";
import type { Mapping } from "../../../model/mappings.ts";
import type { LayerDescription } from "../../../model/decoder-description.ts";
import type { QuantizeTask } from "../../../plan/plan-steps.ts";
import type { Capture } from "../../../model/layer-linears.ts";
import type { RewriterDemand } from "../../../quantize/rewriter.ts";
import type { StaticScale } from "./static-scales.ts";
import type { Linear } from "../../../model/weight-description.ts";

/** What a modifier moves between a layer's tensors before its codes are chosen. */
export interface LayerRewriting {
  readonly modifier: RewritingModifier;
  readonly mappings: readonly Mapping[];
  /** Inputs that the mappings' Linears read. */
  readonly captures: readonly Capture[];
  /** Those of them of which it wants the Hessian. */
  readonly hessians: readonly Capture[];
}

/** What a rewriter is to do to a layer. */
export function demandOf({ tasks }: CalibratedLayer, rewriting: LayerRewriting): RewriterDemand {
  return { ...rewriting, tasks };
}

/** What one result takes of a layer. */
export interface LayerShare {
  /** Every Linear that is quantized. */
  readonly tasks: readonly QuantizeTask[];
  readonly scales: readonly StaticScale[];
}

/** True if a run of the samples collects something for quantizers or static scales. */
export function wantsSamples(layer: CalibratedLayer): boolean {
  const { captures, weighed } = layer;
  return captures.length > 0 || weighed.length > 0 || sharesOf(layer).some(({ scales }) => scales.length > 0);
}

/** Those modifiers that move factors in this layer. */
export function foldingIn({ rewritings }: Pick<CalibratedLayer, "rewritings">): readonly LayerRewriting[] {
  return rewritings.filter(({ mappings }) => mappings.length > 0);
}

/**
 * True if behind a modifier that moves factors all is rounded to nearest, for one result, with nothing collected for it: codes can be
 * chosen where the weights lie when the factors are found.
 */
export function roundsAlone(layer: CalibratedLayer): boolean {
  const isOnly = foldingIn(layer).length === 1 && layer.beside.length === 0;
  return isOnly && !layer.rewritesOriginal && !wantsSamples(layer);
}

/**
 * True if the last run of the samples for modifiers may go on to the layer's output, so that no other is needed for these samples:
 * factors change nothing that the layer computes, and what is rounded to nearest is propagated as it was. Experts that see all
 * tokens would have to give out all of them.
 */
export function leavesWhileRewriting(layer: CalibratedLayer): boolean {
  const rewritten = foldingIn(layer).length > 0;
  const goesOn = layer.rewritesOriginal ? layer.drifting === null : !wantsSamples(layer);
  return rewritten && goesOn && layer.description.feedForward?.kind !== "experts";
}

/** True if a job whose modifiers move factors may run samples through the next layer while this one's scales and codes are chosen. */
export function goesAhead(layer: CalibratedLayer): boolean {
  const { rewritings, rewritesOriginal } = layer;
  if (rewritings.length === 0 || rewritesOriginal || wantsSamples(layer)) return false;
  // A layer that they leave alone holds nobody up.
  return leavesWhileRewriting(layer) || rewritings.every(({ mappings }) => mappings.length === 0);
}

/**
 * True if the last run of the samples that collects something for quantizers or scales may go on to the layer's output, so that no
 * other is needed: what is chosen behind it changes nothing that later layers see. Behind a head there are none.
 */
export function leavesWhileCollecting(layer: CalibratedLayer): boolean {
  const { description, leavesErrors } = layer;
  if (description.head) return false;
  return !leavesErrors && wantsSamples(layer) && description.feedForward?.kind !== "experts";
}

/** A decoder layer as the planner sees it; its own share is that of the result that hidden states follow. */
export interface CalibratedLayer extends LayerShare {
  readonly description: LayerDescription;
  /** Inputs of which some quantizer wants the Hessian. */
  readonly captures: readonly Capture[];
  /** Inputs of which some quantizer wants the squares of columns alone. */
  readonly weighed: readonly Capture[];
  /**
   * Inputs of which some quantizer wants to know how they drifted from those of the original model; null where samples do not run
   * through the original model, too, since none of its modules wants to know.
   */
  readonly drifting: readonly Capture[] | null;
  /** True if the modifiers that move factors see the original model's samples, and not those that see the error of earlier layers. */
  readonly rewritesOriginal: boolean;
  /** True if later layers see what becomes of this one; else samples go on through its original weights. */
  readonly leavesErrors: boolean;
  /**
   * True of the layer in front of a head: samples come there through its original weights, as in LLM Compressor, which calibrates the two
   * together.
   */
  readonly isBeforeHead: boolean;
  /** In the recipe's order; each sees what the one before it made of the layer. */
  readonly rewritings: readonly LayerRewriting[];
  /** Those that samples run through. */
  readonly linears: readonly Linear[];
  /** Names and elements of norms and biases. */
  readonly vectors: readonly { readonly name: string; readonly elements: number }[];
  /** Bytes of tensors that come to the host with the layer, for the result alone. */
  readonly carriedBytes: number;
  /** What other results take of it that are made in the same run. */
  readonly beside: readonly LayerShare[];
  readonly dtypeOf: (tensor: string) => FloatDtype;
}

/** Linears whose weights lie on the host with the layer: a head is quantized there, though nothing runs through it. */
export function hostedLinears({
  linears,
  description: { head },
}: Pick<CalibratedLayer, "linears" | "description">): readonly Linear[] {
  return head ? [...linears, head] : linears;
}

/** True if no samples run through what becomes of the layer, even where later layers are to see the error of earlier ones. */
export function staysOriginal({
  isBeforeHead,
  description,
}: Pick<CalibratedLayer, "isBeforeHead" | "description">): boolean {
  return isBeforeHead || description.head !== undefined;
}

/** Those of a pass's inputs whose drift is collected. */
export function driftingIn({ drifting }: CalibratedLayer, pass: readonly Capture[]): readonly Capture[] {
  const wanted = new Set(drifting);
  return pass.filter((capture) => wanted.has(capture));
}

/**
 * Linears that a run computes for these inputs, which come in forward order: those before the last one. What is wanted beside Hessians
 * is wanted of the whole layer, and so are the original model's samples.
 */
export function linearsUpTo(layer: CalibratedLayer, captures: readonly Capture[]): readonly Linear[] {
  const wantsMore = layer.weighed.length > 0 || sharesOf(layer).some(({ scales }) => scales.length > 0);
  const last = captures.at(-1);
  if (!last || wantsMore || layer.drifting) return layer.linears;
  const end = layer.linears.findIndex(({ module }) => last.modules.includes(module));
  return layer.linears.slice(0, end);
}

/**
 * Modules whose original weights a later pass computes with: what their codes mean waits beside them. That of others takes their place
 * at once.
 * @param passes in the order in which they are made
 */
export function waitingModules(
  layer: CalibratedLayer,
  passes: readonly (readonly Capture[])[],
): ReadonlySet<string> {
  const waiting = new Set<string>();
  if (passes.length <= 1) return waiting;
  const places = new Map(layer.linears.map(({ module }, place) => [module, place]));
  let computed = 0;
  for (const pass of passes.toReversed()) {
    for (const module of pass.flatMap(({ modules }) => modules)) {
      if ((places.get(module) ?? 0) < computed) waiting.add(module);
    }
    computed = Math.max(computed, linearsUpTo(layer, pass).length);
  }
  return waiting;
}

/** The shares of all results, in the order in which they are quantized: what samples run through comes last. */
export function sharesOf(layer: CalibratedLayer): readonly LayerShare[] {
  return [...layer.beside, layer];
}
