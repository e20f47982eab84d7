// What the page knows of trying a model: prompt, options, answers.

import { batch, signal } from "@preact/signals";
import type {
  EvaluatedModel,
  EvaluationProgress,
  Generation,
  GenerationUpdate,
} from "../../../api/evaluator-api.ts";
import type { MeasuredRecipe } from "../measurements/measurement-store.ts";
import type { SourceReference } from "../../../api/source-api.ts";

export const MAX_TOKENS = { min: 1, max: 4096, whole: true } as const;

export const TEMPERATURE = { min: 0, max: 2, whole: false } as const;

export const TOP_P = { min: 0, max: 1, whole: false } as const;

export const SEED = { min: 0, max: 2 ** 32 - 1, whole: true } as const;

export type TrialRole = "model" | "original";

export type Trial = ReturnType<typeof createTrial>;

export function createTrial() {
  return {
    prompt: signal("Once upon a time, there was"),
    chat: signal(false),
    besideOriginal: signal(false),
    maxTokens: signal("80"),
    temperature: signal("0"),
    topP: signal("0.95"),
    seed: signal("0"),
    text: signal<File | null>(null),
    /** A quantized model that the user pointed at, which is tried instead of a result; null otherwise. */
    subject: signal<SourceReference | null>(null),
    /** Where the original is to be had; null for results of dropped files that are gone. */
    reference: signal<SourceReference | null>(null),
    /** What is at work, in words; null while nothing is. */
    busy: signal<string | null>(null),
    stopping: signal(false),
    problem: signal<string | null>(null),
    opened: signal<EvaluatedModel | null>(null),
    answers: signal<Readonly<Partial<Record<TrialRole, GenerationUpdate | Generation>>>>({}),
    progress: signal<EvaluationProgress | null>(null),
    /** What was measured of what is tried now, or null. */
    measured: signal<MeasuredRecipe | null>(null),
  };
}

/** Forgets what was said of another result, and shows what was `measured` of this one. */
export function resetTrial(
  trial: Trial,
  reference: SourceReference | null,
  measured: MeasuredRecipe | null = null,
): void {
  batch(() => {
    trial.reference.value = reference;
    trial.subject.value = null;
    trial.opened.value = null;
    trial.measured.value = measured;
    trial.answers.value = {};
    trial.problem.value = null;
  });
}
