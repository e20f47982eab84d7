import { describe, expect, it, vi } from "vitest";
import { eventually } from "../../testing/eventually.ts";
import { type App, createAppState } from "./app-state.ts";
import { createApp, followTitle, wakeApp } from "../actions/create-app.ts";
import { chooseAnother, goOn, inspectAddress, inspectFiles } from "../actions/inspect-model.ts";
import { recipeChoice } from "./recipe-fields.ts";
import { saveResult } from "../actions/save-result.ts";
import type { Compressor } from "./services.ts";
import { openResult } from "../actions/open-result.ts";
import { startJob } from "../actions/start-job.ts";
import { deleteStored, refreshStored } from "../actions/stored-things.ts";
import { describeFailure } from "./describe-failure.ts";
import {
  type FakeServices,
  FIT,
  fakeServices,
  JOB,
  MODEL,
  PROGRESS,
  RESULT,
} from "../testing/fake-services.ts";

const PAGE = "https://pages.example.org/layerpress/";

function open(services: FakeServices = {}, search = ""): App {
  return createApp(fakeServices(services), PAGE + search);
}

async function openInspected(services: FakeServices = {}): Promise<App> {
  const app = open(services);
  app.state.address.value = "org/name";
  await inspectAddress(app);
  await eventually(() => expect(app.state.planning.value).toBe(false));
  return app;
}

/** A promise and what settles it; Node 20 has no Promise.withResolvers. */
function deferred<T>() {
  let resolve: (value: T) => void = () => undefined;
  const promise = new Promise<T>((settle) => (resolve = settle));
  return { promise, resolve };
}

function failure(name: string): Error {
  return Object.assign(new Error("A sentence."), { name });
}

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

describe("choosing", () => {
  it("asks nobody because of a link, but fills in what it names", () => {
    const inspect = vi.fn<Compressor["inspect"]>();
    const { state } = open({ compressor: { inspect } }, "?model=org%2Fname&recipe=w8a8");
    expect(state.address.value).toBe("org/name");
    expect(state.recipe.scheme.value).toBe("W8A8");
    expect(state.screen.value).toBe("choose");
    expect(inspect).not.toHaveBeenCalled();
  });

  it("takes GPTQ from a link", () => {
    const { state } = open({}, "?recipe=gptq-w8a16");
    expect(recipeChoice(state.recipe)).toMatchObject({
      scheme: "W8A16",
      method: { name: "GPTQModifier", actorder: "static" },
    });
  });

  it("says which recipe a link may have meant that asks for none", () => {
    const { state } = open({}, "?recipe=W8A61");
    expect(state.recipe.scheme.value).toBe("W4A16");
    expect(state.notice.value).toMatch(/“W8A61” does not exist. The nearest one is W8A16\. W4A16 is chosen/);
  });

  it("hands the worker the address as typed and the token", async () => {
    const inspect = vi.fn<Compressor["inspect"]>(async () => MODEL);
    const app = open({ compressor: { inspect } });
    app.state.address.value = " sample/ ";
    app.state.token.value = " hf_x ";
    await inspectAddress(app);
    expect(inspect).toHaveBeenCalledWith({ kind: "address", address: "sample/" }, "hf_x");
  });

  it("shows a refusal and inspects again on request", async () => {
    const inspect = vi
      .fn<Compressor["inspect"]>(async () => MODEL)
      .mockRejectedValueOnce(failure("NetworkError"));
    const app = open({ compressor: { inspect } });
    app.state.address.value = "org/name";
    await inspectAddress(app);
    expect(app.state.failure.value?.message).toBe("A sentence.");
    expect(app.state.screen.value).toBe("choose");
    await app.state.failure.value?.retry?.();
    expect(app.state.failure.value).toBeNull();
    expect(app.state.screen.value).toBe("plan");
  });

  it("lets a second look overtake a first that hangs", async () => {
    const hanging = deferred<typeof MODEL>();
    const inspect = vi.fn<Compressor["inspect"]>(async () => MODEL).mockReturnValueOnce(hanging.promise);
    const app = open({ compressor: { inspect } });
    app.state.address.value = "org/slow";
    const first = inspectAddress(app);
    app.state.address.value = "org/name";
    await inspectAddress(app);
    expect(app.state.inspecting.value).toBeNull();
    hanging.resolve({ ...MODEL, architecture: "late" });
    await first;
    expect(app.state.model.value).toBe(MODEL);
  });

  it("says why there is no GPU, and derives the budget from the adapter where there is one", async () => {
    const without = open({
      compressor: { probe: async () => await Promise.reject(failure("DeviceLimitError")) },
    });
    await wakeApp(without);
    expect(without.state.adapterProblem.value).toBe("A sentence.");
    const withGpu = open();
    await wakeApp(withGpu);
    expect(withGpu.state.budgetBytes.value).toBe(4 * 1024 ** 3);
  });

  it("goes on with an unfinished job with the options it had", async () => {
    const start = vi.fn<Compressor["start"]>(async () => [RESULT]);
    const app = open({ compressor: { start } });
    const options = { ...JOB.options, keepSource: true, gpuBudgetBytes: 1_234_567_891 };
    await goOn(app, { ...JOB, options });
    expect(start).toHaveBeenCalledWith(options, expect.anything());
    expect(app.state.screen.value).toBe("done");
  });

  it("asks for the whole address of a job whose address was not kept whole, and restores its options", async () => {
    const inspect = vi
      .fn<Compressor["inspect"]>(async () => MODEL)
      .mockRejectedValueOnce(failure("AccessError"));
    const app = open({ compressor: { inspect } });
    const options = { ...JOB.options, keepSource: true };
    const job = { ...JOB, address: "https://models.example/tiny/", addressShortened: true, options };
    await goOn(app, job);
    expect(app.state.awaitingSource.value).toBe(job);
    app.state.address.value = "https://models.example/tiny/?token=s";
    await inspectAddress(app);
    expect(app.state.awaitingSource.value).toBeNull();
    expect(app.state.keepSource.value).toBe(true);
  });

  it("waits for dropped files to be dropped again", async () => {
    const start = vi.fn<Compressor["start"]>(async () => [RESULT]);
    const app = open({ compressor: { start } });
    const options = { ...JOB.options, recipe: { kind: "yaml", text: "a: 1" } } as const;
    await goOn(app, { ...JOB, address: null, options });
    expect(app.state.awaitingSource.value?.jobId).toBe(JOB.jobId);
    await inspectFiles(app, { kind: "files", files: [] });
    expect(app.state.options.value?.recipe).toEqual({ kind: "yaml", text: "a: 1" });
    expect(app.state.awaitingSource.value).toBeNull();
    expect(start).not.toHaveBeenCalled();
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

describe("running", () => {
  it("takes cancelling for an answer, not for a failure", async () => {
    const app = await openInspected({
      compressor: { start: async () => await Promise.reject(failure("AbortError")) },
    });
    await startJob(app);
    expect(app.state.failure.value).toBeNull();
    expect(app.state.notice.value).toMatch(/Finished layers are kept/);
    expect(app.state.screen.value).toBe("plan");
  });

  it("goes on from the last finished layer after the GPU was lost", async () => {
    const start = vi
      .fn<Compressor["start"]>(async () => [RESULT])
      .mockRejectedValueOnce(failure("DeviceLostError"));
    const app = await openInspected({ compressor: { start } });
    await startJob(app);
    expect(app.state.failure.value?.actions).toContain("go-on");
    await app.state.failure.value?.retry?.();
    expect(app.state.screen.value).toBe("done");
  });

  it("holds the machine awake for as long as the job runs, whatever its end", async () => {
    const released = vi.fn<() => void>();
    const holdForJob = () => ({ [Symbol.dispose]: released });
    const start = async () => {
      expect(released).not.toHaveBeenCalled();
      return await Promise.reject(failure("StorageError"));
    };
    const app = await openInspected({ compressor: { start }, platform: { holdForJob } });
    await startJob(app);
    expect(released).toHaveBeenCalledTimes(1);
  });

  it("does not start twice", async () => {
    const start = vi.fn<Compressor["start"]>(async () => [RESULT]);
    const app = await openInspected({ compressor: { start } });
    await Promise.all([startJob(app), startJob(app)]);
    expect(start).toHaveBeenCalledTimes(1);
  });
});

describe("a result", () => {
  it("is opened from an earlier visit and saved", async () => {
    const app = open();
    await openResult(app, RESULT.jobId);
    expect(app.state.screen.value).toBe("done");
    await saveResult(app, "zip");
    expect(app.state.saved.value).toBe("Saved as Llama-3.1-8B-Instruct-W4A16.zip.");
    expect(app.state.saving.value).toBeNull();
  });

  it("is not saved, without complaint, when the picker is dismissed", async () => {
    const app = open({
      download: { saveFolder: async () => await Promise.reject(failure("AbortError")) },
    });
    await openResult(app, RESULT.jobId);
    await saveResult(app, "folder");
    expect(app.state.saved.value).toBeNull();
    expect(app.state.failure.value).toBeNull();
  });

  it("shows how much has been saved", async () => {
    const shares: number[] = [];
    const app = open({
      download: {
        saveFolder: async (_target, onBytes) => {
          onBytes(1_000);
          shares.push(app.state.saving.value?.savedBytes ?? 0);
          return "Saved.";
        },
      },
    });
    await openResult(app, RESULT.jobId);
    await saveResult(app, "folder");
    expect(shares).toEqual([1_000]);
  });
});

describe("storage", () => {
  it("shows what is left after deleting", async () => {
    let jobs = [JOB];
    const app = open({ compressor: { jobs: async () => jobs } });
    await wakeApp(app);
    expect(app.state.stored.value?.jobs).toHaveLength(1);
    await deleteStored(app, async () => {
      jobs = [];
    });
    expect(app.state.stored.value?.jobs).toHaveLength(0);
  });

  it("shows what can be read when a store cannot, and says why", async () => {
    const list = async () => await Promise.reject(new Error("no measurements"));
    const app = open({ compressor: { jobs: async () => [JOB] }, measurements: { list } });
    await wakeApp(app);
    expect(app.state.stored.value).toMatchObject({ jobs: [JOB], measurements: [] });
    expect(app.state.failure.value?.message).toBe("no measurements");
    app.state.failure.value = { ...describeFailure(new Error("the job"), "running"), retry: null };
    await refreshStored(app);
    expect(app.state.failure.value.message).toBe("the job");
  });
});
