import { expect, it, vi } from "vitest";
import type { EvaluatorApi } from "../../api/evaluator-api.ts";
import { openApp } from "../testing/open-app.ts";
import { RESULT } from "../testing/fake-services.ts";
import type { Platform } from "../state/services.ts";
import { prepareEngine } from "./try-prompt.ts";

function opened(whenLeft: Platform["whenLeft"] = () => undefined) {
  const release = vi.fn<() => Promise<void>>(async () => await Promise.resolve());
  const prepare = vi.fn<(engine: Parameters<EvaluatorApi["prepare"]>[0]) => Promise<void>>();
  prepare.mockResolvedValue();
  const app = openApp({ evaluator: { prepare, release }, platform: { whenLeft } });
  app.state.result.value = RESULT;
  release.mockClear();
  return { app, prepare, release };
}

it("opens an engine ahead of a prompt, and none while one is at work", () => {
  const { app, prepare, release } = opened();
  prepareEngine(app);
  app.state.trial.busy.value = "The quantized model answers …";
  prepareEngine(app);
  expect(prepare).toHaveBeenCalledOnce();
  expect(release).not.toHaveBeenCalled();
});

it("has the engine that waits closed when the page is left, which a browser may keep", () => {
  const left: (() => void)[] = [];
  const { release } = opened((leave) => void left.push(leave));
  for (const leave of left) leave();
  expect(release).toHaveBeenCalledOnce();
});

it("has the engine that waits closed when a job begins", () => {
  const { app, release } = opened();
  app.state.running.value = true;
  expect(release).toHaveBeenCalledOnce();
});

it("has the engine that waits closed when the result is left, and when another model is tried", () => {
  const { app, release } = opened();
  app.state.result.value = null;
  expect(release).toHaveBeenCalledOnce();
  app.state.trial.subject.value = { kind: "address", address: "org/name" };
  expect(release).toHaveBeenCalledTimes(2);
});
