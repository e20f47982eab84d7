import type { Phase } from "../../api/compressor-api.ts";
import { capitalize } from "./capitalize.ts";

export interface PhaseWords {
  readonly name: string;
  /** What goes on, for people who see the name for the first time. */
  readonly sentence: string;
  /** False for phases that work on one step at a time. */
  readonly wholeJob: boolean;
}

export const PHASE_WORDS: Readonly<Record<Phase, PhaseWords>> = {
  starting: {
    name: "Starting",
    sentence: "Opens the GPU and the files of the job.",
    wholeJob: true,
  },
  embedding: {
    name: "Embedding",
    sentence: "Looks up the samples’ tokens in the embedding table.",
    wholeJob: true,
  },
  calibrating: {
    name: "Calibrating",
    sentence: "Runs the samples through the original layer and collects what comes in.",
    wholeJob: false,
  },
  quantizing: {
    name: "Quantizing",
    sentence: "Chooses a code for every weight of the layer.",
    wholeJob: false,
  },
  propagating: {
    name: "Propagating",
    sentence: "Runs the samples through the compressed layer: what comes out feeds the next one.",
    wholeJob: false,
  },
  packaging: {
    name: "Packaging",
    sentence: "Writes config.json, the recipe and the model card beside the weights.",
    wholeJob: true,
  },
  verifying: {
    name: "Verifying",
    sentence: "Reads the result again and compares it with the original.",
    wholeJob: true,
  },
};

/** Phases with their seconds in the order of the work; those that an earlier version named come last. */
export function inOrder(seconds: Readonly<Record<string, number>>): [phase: string, seconds: number][] {
  const order = Object.keys(PHASE_WORDS);
  const place = (phase: string) => (order.includes(phase) ? order.indexOf(phase) : order.length);
  return Object.entries(seconds).toSorted(([a], [b]) => place(a) - place(b));
}

/** What a phase is called, also where an earlier version of the page named it. */
export function phaseName(phase: string): string {
  const known = Object.entries(PHASE_WORDS).find(([name]) => name === phase);
  return known?.[1].name ?? capitalize(phase);
}
