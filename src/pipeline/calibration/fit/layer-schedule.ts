// How samples and quantizers take a layer through the GPU.

import type { Capture } from "../../../model/layer-linears.ts";
import type { Residency } from "../../../onload/residency.ts";
import type { RewritePass } from "./fit-rewritings.ts";

/** An input whose modules are quantized where they have settled on the GPU. */
export interface SettlingTurn {
  readonly capture: Capture;
  /** Modules whose weights begin to come then. */
  readonly brings: readonly string[];
}

/** Inputs in the order in which they are quantized, while weights settle. */
export interface SettlingSchedule {
  readonly turns: readonly SettlingTurn[];
  /** Rows of the modules' tiles. */
  readonly tileRows: ReadonlyMap<string, number>;
}

/** With two batches, one is computed while the next is brought and the last is taken away. */
export type BatchesAtWork = 1 | 2;

export interface LayerSchedule {
  /** Captures whose Hessians are collected together; a pass runs all samples through the layer. */
  readonly passes: readonly (readonly Capture[])[];
  /** The passes of each of the layer's modifiers that move factors, before all others. */
  readonly rewrites: readonly (readonly RewritePass[])[];
  /** True if the last pass that collects goes on to the layer's output, and none is needed to propagate. */
  readonly leaves: boolean;
  readonly tileRows: ReadonlyMap<string, number>;
  /** How the weights lie on the GPU in each pass, and while the samples are propagated. */
  readonly residency: { readonly calibrate: readonly Residency[]; readonly propagate: Residency };
  /** True if the whole layer is resident in all of them. */
  readonly resident: boolean;
  /**
   * True if weights stay on the GPU from the first pass over the samples to the last, quantized in between, and codes are
   * read back while the next module is computed.
   */
  readonly overlap: boolean;
  /** With that, bytes that are free while codes are chosen of those that it takes to collect Hessians. */
  readonly spareQuantizing: number;
  /** True if weights stay on the GPU from a modifier's first run of the samples until it has found its factors. */
  readonly staysRewriting: boolean;
  /** Where weights do not stay from the first pass on; null if none of them settles. */
  readonly settling: SettlingSchedule | null;
  /** Batches on the GPU at once in each pass, and while samples are propagated, where the whole job has no room for two. */
  readonly atWork: { readonly calibrate: readonly BatchesAtWork[]; readonly propagate: BatchesAtWork };
}
