// Trying the result: a prompt answered by the quantized model, beside the original if wanted, and how much was lost.

import { batch, signal } from "@preact/signals";
import { isAbort } from "../../errors.ts";
import type { SourceReference } from "../../api/compressor-api.ts";
import type {
  EvaluatedModel,
  EvaluationProgress,
  Generation,
  GenerationUpdate,
} from "../../api/evaluator-api.ts";
import type { App } from "../state/app-state.ts";
import type { MeasuredRecipe } from "../state/measurement-store.ts";
import { readNumber } from "../state/read-number.ts";

export type TrialRole = "model" | "original";

export const MAX_TOKENS = { min: 1, max: 4096, whole: true } as const;
export const TEMPERATURE = { min: 0, max: 2, whole: false } as const;
export const TOP_P = { min: 0, max: 1, whole: false } as const;
export const SEED = { min: 0, max: 2 ** 32 - 1, whole: true } as const;

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

export type Trial = ReturnType<typeof createTrial>;

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

/** Lets the result, and the original if it is wanted, go on from the prompt. */
export async function tryPrompt(app: App): Promise<void> {
  const { trial } = app.state;
  const maxTokens = readNumber(trial.maxTokens.peek(), MAX_TOKENS);
  const temperature = readNumber(trial.temperature.peek(), TEMPERATURE);
  const top_p = readNumber(trial.topP.peek(), TOP_P);
  const seed = readNumber(trial.seed.peek(), SEED);
  if (maxTokens === null || temperature === null || top_p === null || seed === null) return;
  const sampling = { maxTokens, temperature, top_p, seed };
  const roles: TrialRole[] = trial.besideOriginal.peek() ? ["model", "original"] : ["model"];
  await work(app, "Reading the model …", async () => {
    trial.answers.value = {};
    for (const role of roles) {
      if (!(await openModel(app, role)) || trial.stopping.peek()) return;
      trial.busy.value = role === "model" ? "The quantized model answers …" : "The original answers …";
      const keep = (answer: GenerationUpdate) =>
        (trial.answers.value = { ...trial.answers.peek(), [role]: answer });
      let isFinished = false;
      // The last update may come a frame after the answer as a whole, which knows more.
      const onUpdate = app.services.platform.newestPerFrame((answer: GenerationUpdate) => {
        if (!isFinished) keep(answer);
      });
      const options = {
        ...sampling,
        prompt: trial.prompt.peek(),
        chat: trial.chat.peek(),
        provider: "auto" as const,
        gpuBudgetBytes: budget(app),
      };
      const answer = await app.services.evaluator.generate(role, options, onUpdate);
      isFinished = true;
      keep(answer);
    }
  });
}

export async function stopTrial(app: App): Promise<void> {
  app.state.trial.stopping.value = true;
  await app.services.evaluator.stop();
}

/** Does something with the evaluator, unless it is at work already. Failures are told where the user tries the result. */
export async function work(app: App, what: string, run: () => Promise<void>): Promise<void> {
  const { trial } = app.state;
  if (trial.busy.peek() !== null) return;
  batch(() => {
    trial.busy.value = what;
    trial.stopping.value = false;
    trial.problem.value = null;
    trial.progress.value = null;
  });
  try {
    await run();
  } catch (error) {
    if (!isAbort(error)) trial.problem.value = error instanceof Error ? error.message : String(error);
  } finally {
    batch(() => {
      trial.busy.value = null;
      trial.progress.value = null;
    });
  }
}

/** Opens the shown result, or what it was made of. False if there is no original to open. */
export async function openModel({ state, services }: App, role: TrialRole): Promise<boolean> {
  const result = state.result.peek();
  const original = state.trial.reference.peek();
  const own = result ? { kind: "job" as const, jobId: result.jobId } : state.trial.subject.peek();
  const reference = role === "original" ? original : own;
  if (!reference) return false;
  const token = reference.kind === "job" ? null : state.token.peek().trim() || null;
  const opened = await services.evaluator.open(role, reference, token);
  if (role === "model") state.trial.opened.value = opened;
  return true;
}

export function budget({ state }: App): number {
  return state.budgetBytes.peek() ?? 2 ** 30;
}
