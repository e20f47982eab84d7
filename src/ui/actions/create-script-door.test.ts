import { describe, expect, it, vi } from "vitest";
import { createApp, wakeApp } from "./create-app.ts";
import { createScriptDoor } from "./create-script-door.ts";
import { inspectFiles } from "./inspect-model.ts";
import type { CompressRequest } from "../../api/script-api.ts";
import type { Compressor, Download } from "../state/services.ts";
import { type FakeServices, FIT, fakeServices, PROGRESS, RESULT } from "../testing/fake-services.ts";

const GIB = 1024 ** 3;

const REQUEST: CompressRequest = {
  source: "org/name",
  token: null,
  recipe: {
    text: "w8a16",
    groupSize: null,
    ignore: null,
    observer: null,
    dampeningFrac: null,
    actorder: null,
  },
  calibration: {
    file: null,
    dataset: null,
    samples: null,
    maxSeqLength: null,
    seed: null,
    shuffle: true,
    propagateError: true,
    allExperts: true,
    minExpertTokens: null,
    hiddenStates: "F32",
    forwardProducts: "AUTO",
  },
  gpuBudgetBytes: null,
  keepSource: false,
};

async function openDoor(services: FakeServices = {}) {
  const app = createApp(fakeServices(services), "https://pages.example.org/");
  await wakeApp(app);
  return { app, door: createScriptDoor(app, new Promise<never>(() => undefined)) };
}

function failure(name: string): Error {
  return Object.assign(new Error("A sentence."), { name });
}

describe("what a script is told meanwhile", () => {
  it("is what downloads wait for, or that a worker has been silent", async () => {
    const { door } = await openDoor();
    expect(await door.waiting()).toBeNull();
    const moduleReports = async () => await new Promise<never>(() => undefined);
    const { door: stuck } = await openDoor({ compressor: { moduleReports } });
    vi.useFakeTimers();
    try {
      const told = stuck.waiting();
      await vi.advanceTimersByTimeAsync(10_000);
      expect(await told).toMatch(/^a worker of the page has not answered for 10 s/);
    } finally {
      vi.useRealTimers();
    }
  });
});

describe("compressing from a script", () => {
  it("moves the page from its first state to its last", async () => {
    const start = vi.fn<Compressor["start"]>(async (_options, onProgress) => {
      onProgress(PROGRESS);
      return [RESULT];
    });
    const { app, door } = await openDoor({ compressor: { start } });
    expect(door.progress()).toBeNull();
    await expect(door.compress(REQUEST)).resolves.toEqual({
      jobId: RESULT.jobId,
      fit: FIT,
      result: RESULT,
      results: [RESULT],
    });
    expect(door.progress()).toBe(PROGRESS);
    expect(app.state.screen.value).toBe("done");
    expect(app.state.address.value).toBe("org/name");
    expect(start.mock.calls[0]?.[0]).toMatchObject({
      recipe: { scheme: "W8A16", method: { name: "QuantizationModifier" } },
      calibration: null,
    });
  });

  it("fails where a worker cannot be run, which would never answer", async () => {
    const start: Compressor["start"] = async () => await new Promise<never>(() => undefined);
    const { app } = await openDoor({ compressor: { start } });
    const door = createScriptDoor(app, Promise.reject(new Error("A sentence.")));
    await expect(door.compress(REQUEST)).rejects.toThrow("A sentence.");
  });

  it("hands over every option that was asked for", async () => {
    const start = vi.fn<Compressor["start"]>(async () => [RESULT]);
    const { door } = await openDoor({ compressor: { start } });
    const recipe = {
      text: "gptq-w4a16",
      groupSize: 64,
      ignore: ["lm_head", "re:.*down_proj"],
      observer: "memoryless_mse",
      dampeningFrac: 0.05,
      actorder: "none",
    } as const;
    const calibration = {
      ...REQUEST.calibration,
      file: { name: "tales.txt", text: "Once upon a time" },
      samples: 8,
      maxSeqLength: 128,
      seed: 7,
      propagateError: false,
      allExperts: false,
      minExpertTokens: 16,
      hiddenStates: "BF16",
      forwardProducts: "AUTO",
    } as const;
    await door.compress({ ...REQUEST, recipe, calibration, gpuBudgetBytes: 1_234_567_891, keepSource: true });
    const [options] = start.mock.calls[0] ?? [];
    expect(options).toMatchObject({
      recipe: {
        scheme: "W4A16",
        group_size: 64,
        ignore: ["lm_head", "re:.*down_proj"],
        observer: "memoryless_mse",
        method: { name: "GPTQModifier", dampening_frac: 0.05, actorder: null },
      },
      calibration: {
        num_calibration_samples: 8,
        max_seq_length: 128,
        seed: 7,
        shuffle_calibration_samples: true,
        propagate_error: false,
        moe_calibrate_all_experts: false,
        moe_min_tokens_per_expert: 16,
        hidden_states_dtype: "BF16",
        forward_products: "AUTO",
      },
      gpuBudgetBytes: 1_234_567_891,
      keepSource: true,
    });
    const source = options?.calibration?.source;
    expect(source?.kind === "file" && (await source.file.text())).toBe("Once upon a time");
  });

  it("calibrates with the usual data set unless another is named", async () => {
    const start = vi.fn<Compressor["start"]>(async () => [RESULT]);
    const { door } = await openDoor({ compressor: { start } });
    const recipe = { ...REQUEST.recipe, text: "gptq-w4a16" };
    await door.compress({ ...REQUEST, recipe });
    const dataset = { name: "org/tales", split: "test", column: null };
    await door.compress({ ...REQUEST, recipe, calibration: { ...REQUEST.calibration, dataset } });
    expect(start.mock.calls.map(([options]) => options.calibration?.source)).toEqual([
      expect.objectContaining({
        name: "HuggingFaceH4/ultrachat_200k",
        split: "train_sft",
        column: "messages",
      }),
      { kind: "dataset", name: "org/tales", config: null, split: "test", column: null },
    ]);
  });

  it("waits for files that the page is given", async () => {
    const { app, door } = await openDoor();
    const compressed = door.compress({ ...REQUEST, source: null, gpuBudgetBytes: 2 * GIB });
    await inspectFiles(app, { kind: "files", files: [] });
    await expect(compressed).resolves.toMatchObject({ jobId: RESULT.jobId });
    expect(app.state.budget.value).toBe("2 GiB");
  });

  it.each([
    ["inspect", "AccessError"],
    ["plan", "RecipeError"],
    ["start", "DeviceLostError"],
    ["start", "AbortError"],
  ] as const)("rejects with name and sentence of what %s refuses", async (call, name) => {
    const { door } = await openDoor({
      compressor: { [call]: async () => await Promise.reject(failure(name)) },
    });
    await expect(door.compress(REQUEST)).rejects.toMatchObject({
      name,
      message: expect.stringMatching(name === "AbortError" ? /^Stopped\./ : /^A sentence\.$/),
    });
  });

  it("starts nothing that the plan says does not fit", async () => {
    const start = vi.fn<Compressor["start"]>(async () => [RESULT]);
    const plan = async () => ({
      ...FIT,
      verdict: "does-not-fit" as const,
      sentences: ["Too large.", "Delete."],
    });
    const { door } = await openDoor({ compressor: { plan, start } });
    await expect(door.compress(REQUEST)).rejects.toMatchObject({
      name: "StorageError",
      message: "Too large. Delete.",
    });
    expect(start).not.toHaveBeenCalled();
  });

  it.each([
    [{ text: "W4A61" }, /nearest one is W4A16/],
    [{ text: "a: 1\nb: 2", groupSize: 64 }, /YAML says everything itself/],
    [{ text: "W4A16", actorder: "group" }, /Ask for gptq-W4A16/],
  ] as const)("refuses the recipe %j before it asks anybody", async (recipe, sentence) => {
    const inspect = vi.fn<Compressor["inspect"]>();
    const { door } = await openDoor({ compressor: { inspect } });
    const asked = { ...REQUEST, recipe: { ...REQUEST.recipe, ...recipe } };
    await expect(door.compress(asked)).rejects.toMatchObject({
      name: "RecipeError",
      message: expect.stringMatching(sentence),
    });
    expect(inspect).not.toHaveBeenCalled();
  });
});

it("downloads one file of the result, and no other", async () => {
  const saveFiles = vi.fn<Download["saveFiles"]>(async () => "");
  const { door } = await openDoor({ download: { saveFiles } });
  await expect(door.save("config.json")).rejects.toMatchObject({ name: "AccessError" });
  await door.compress(REQUEST);
  await door.save("config.json");
  await expect(door.save("../config.json")).rejects.toMatchObject({ name: "AccessError" });
  expect(saveFiles.mock.calls.map(([{ files }]) => files.map(({ path }) => path))).toEqual([["config.json"]]);
});
