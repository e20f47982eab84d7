import { describe, expect, it, vi } from "vitest";
import { eventually } from "../../testing/eventually.ts";
import { createAppState } from "./app-state.ts";
import { followTitle } from "../actions/create-app.ts";
import { chooseAnother } from "../actions/inspect-model.ts";
import type { Compressor } from "./services.ts";
import { startJob } from "../actions/start-job.ts";
import { FIT, PROGRESS, RESULT } from "../testing/fake-services.ts";
import { openInspected, deferred, failure } from "../testing/open-app.ts";

describe("the four states", () => {
  it("lead from choosing to a result and back", async () => {
    const { promise, resolve } = deferred<typeof RESULT>();
    const app = await openInspected({ compressor: { start: async () => [await promise] } });
    expect(app.state.screen.value).toBe("plan");
    expect(app.state.fit.value).toBe(FIT);
    const ended = startJob(app);
    expect(app.state.screen.value).toBe("run");
    resolve(RESULT);
    await ended;
    expect(app.state.screen.value).toBe("done");
    chooseAnother(app);
    expect(app.state.screen.value).toBe("choose");
  });

  it("show progress and put it into the title", async () => {
    const titles: string[] = [];
    const app = await openInspected({
      compressor: {
        start: async (_options, onProgress) => {
          onProgress(PROGRESS);
          return [RESULT];
        },
      },
    });
    followTitle(app, (title) => titles.push(title));
    await startJob(app);
    expect(app.state.progress.value).toBe(PROGRESS);
    expect(titles).toContain("37 % · 4 min · Layerpress");
    expect(titles.at(-1)).toBe("Done · Llama-3.1-8B-Instruct-W4A16 · Layerpress");
  });
});

describe("planning", () => {
  it("follows the controls, and plans once for several quick changes", async () => {
    const plan = vi.fn<Compressor["plan"]>(async () => FIT);
    const app = await openInspected({ compressor: { plan } });
    plan.mockClear();
    app.state.recipe.scheme.value = "W8A16";
    app.state.recipe.scheme.value = "W8A8";
    expect(app.state.planning.value).toBe(true);
    await eventually(() => expect(plan).toHaveBeenCalled());
    expect(plan.mock.calls).toEqual([
      [expect.objectContaining({ recipe: expect.objectContaining({ scheme: "W8A8" }) })],
    ]);
  });

  it("drops an answer to options that have changed meanwhile", async () => {
    const late = deferred<typeof FIT>();
    const app = await openInspected();
    const plan = vi.spyOn(app.services.compressor, "plan");
    plan.mockReturnValueOnce(late.promise);
    app.state.keepSource.value = true;
    await eventually(() => expect(plan).toHaveBeenCalledTimes(1));
    const fresh = { ...FIT, bitsPerWeight: 8 };
    plan.mockResolvedValueOnce(fresh);
    app.state.keepSource.value = false;
    await eventually(() => expect(app.state.fit.value).toBe(fresh));
    late.resolve({ ...FIT, bitsPerWeight: 1 });
    await late.promise;
    await Promise.resolve();
    expect(app.state.fit.value).toBe(fresh);
  });

  it("says in place that a recipe does not fit, until it does", async () => {
    const app = await openInspected({
      compressor: { plan: async () => await Promise.reject(failure("RecipeError")) },
    });
    expect(app.state.planFailure.value?.heading).toBe("The recipe does not fit");
    vi.spyOn(app.services.compressor, "plan").mockResolvedValue(FIT);
    app.state.recipe.groupSize.value = 64;
    await eventually(() => expect(app.state.planFailure.value).toBeNull());
  });

  it("has no options while the budget is not an amount", () => {
    const state = createAppState();
    state.budget.value = "a lot";
    expect(state.options.value).toBeNull();
    state.budget.value = "1 MiB";
    expect(state.options.value).toBeNull();
    state.budget.value = "1.5 GiB";
    expect(state.options.value?.gpuBudgetBytes).toBe(1.5 * 1024 ** 3);
  });
});
