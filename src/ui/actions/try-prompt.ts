// Trying the result: a prompt answered by the quantized model, beside the original if wanted, and how much was lost.

import { batch, effect } from "@preact/signals";
import { isAbort } from "../../errors.ts";
import type { GenerationUpdate } from "../../api/evaluator-api.ts";
import type { App } from "../state/app-state.ts";
import { readNumber } from "../state/fields/read-number.ts";
import { MAX_TOKENS, TEMPERATURE, TOP_P, SEED, type TrialRole } from "../state/fields/trial-fields.ts";

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
    beginEngine(app);
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
        ...engineOf(app),
      };
      const answer = await app.services.evaluator.generate(role, options, onUpdate);
      isFinished = true;
      keep(answer);
    }
  });
}

/** Has the engine opened that the next prompt will want, unless one is at work. */
export function prepareEngine(app: App): void {
  if (app.state.trial.busy.peek() === null) beginEngine(app);
}

/** Whoever asks for an answer is told what keeps the engine from opening. */
function beginEngine(app: App): void {
  app.services.evaluator.prepare(engineOf(app)).catch(() => undefined);
}

/**
 * Has the engine that waits for a prompt closed whenever the page turns to something else, such as a job or another model, and when it is
 * left: a browser may keep the page as it is, to come back to it, and with it the engine's device.
 */
export function releaseEngines({ state, services }: App): void {
  const release = () => void services.evaluator.release().catch(() => undefined);
  effect(() => {
    void state.screen.value;
    void state.trial.subject.value;
    release();
  });
  services.platform.whenLeft(release);
}

function engineOf(app: App) {
  return { provider: "auto" as const, gpuBudgetBytes: budget(app) };
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
