import { batch, effect } from "@preact/signals";
import type { App } from "../state/app-state.ts";
import { describeFailure } from "../state/describe-failure.ts";
import type { JobOptions } from "../../api/job-options.ts";

/** Long enough for a slider to pass over several steps, short enough to feel immediate. */
const SETTLE_MS = 250;

/**
 * Keeps the fit report in step with the controls while the page is in its plan state; an answer to options that have
 * changed meanwhile is dropped. Returns a function that ends it.
 */
export function keepPlanned(app: App): () => void {
  const { state } = app;
  return effect(() => {
    const model = state.model.value;
    const options = state.options.value;
    void state.planRetries.value;
    if (!model || !options || state.screen.value !== "plan") return undefined;
    state.planning.value = true;
    const settle = state.fit.peek() === null ? 0 : SETTLE_MS;
    const timer = setTimeout(() => void plan(app, options), settle);
    return () => {
      clearTimeout(timer);
      state.planning.value = false;
    };
  });
}

async function plan({ state, services }: App, options: JobOptions): Promise<void> {
  const model = state.model.peek();
  // The same options again: what failed lies outside of them.
  const retry = async () => {
    batch(() => {
      state.planFailure.value = null;
      state.planRetries.value++;
    });
  };
  const current = () => state.options.peek() === options && state.model.peek() === model;
  try {
    const fit = await services.compressor.plan(options);
    if (!current()) return;
    batch(() => {
      state.fit.value = fit;
      state.presets.value = fit.presets;
      state.planFailure.value = null;
      state.planning.value = false;
    });
  } catch (error) {
    if (!current()) return;
    batch(() => {
      state.planFailure.value = { ...describeFailure(error, "planning"), retry };
      state.planning.value = false;
    });
    if (state.presets.peek().length > 0) return;
    const presets = await services.compressor.presets();
    if (state.model.peek() === model) state.presets.value = presets;
  }
}
