// The conductor itself, without a browser: what the world does to it at each of its operations, and that the job then ends with
// the bytes that it would have had. GPU arithmetic is a stub that follows from what it reads.

import { afterEach, beforeAll, describe, expect, it } from "vitest";
import type { Machine } from "../testing/jobs/machine.ts";
import { planFixture, type PlannedJob } from "../testing/jobs/plan-fixture.ts";
import { storagePatience } from "../storage-answer.ts";
import type { Receipt } from "../api/receipt.ts";
import { makeReceipt } from "./result/make-receipt.ts";
import { createJobControl } from "./job/job-control.ts";
import type { Told } from "./job/progress.ts";

const METHODS = {
  rounded: { name: "QuantizationModifier" },
  calibrated: { name: "GPTQModifier", dampening_frac: 0.01, actorder: "static" },
} as const;

/** Every operation is tried, so the job has no more modules than differ: two that share an input, two with their own, and copies. */
const IGNORE = ["lm_head", "re:.*(v|o|up)_proj"];

interface Undisturbed {
  readonly job: PlannedJob;
  readonly output: ReadonlyMap<string, string>;
  readonly operations: number;
  readonly submits: number;
  readonly peakGpuBytes: number;
}

/** The job as it runs when nothing happens. */
async function undisturbed(job: PlannedJob): Promise<Undisturbed> {
  const machine = job.machine();
  const { peakGpuBytes } = await machine.run();
  const { disk, gpu } = machine;
  expect(gpu.liveBytes, "bytes left on the GPU").toBe(0);
  const { operations } = disk;
  return { job, output: machine.output(), operations, submits: gpu.submits, peakGpuBytes };
}

/** What a run comes to: the name of its error, or null. */
async function outcome(machine: Machine, ...args: Parameters<Machine["run"]>): Promise<string | null> {
  return await machine.run(...args).then(
    () => null,
    (error: unknown) => (error instanceof Error ? error.name : String(error)),
  );
}

/** 1, 1 + step, … up to the last. */
function* every(step: number, last: number, first = 1): Generator<number> {
  for (let at = first; at <= last; at += step) yield at;
}

/** Disturbs the first run of a machine; the second one must end with the bytes of an undisturbed job. */
async function disturbed(
  { job, output }: Undisturbed,
  what: string,
  disturb: (machine: Machine) => void,
  ...args: Parameters<Machine["run"]>
): Promise<string | null> {
  const machine = job.machine();
  disturb(machine);
  const first = await outcome(machine, ...args);
  machine.disk.recover();
  expect(await outcome(machine), `after ${what}`).toBeNull();
  expect(machine.output(), `after ${what}`).toEqual(output);
  return first;
}

/** Crashes at every `step`-th operation of the disk; those behind which the first run ended in another way. */
async function otherEnds(whole: Undisturbed, step: number): Promise<string[]> {
  const others: string[] = [];
  for (const operation of every(step, whole.operations)) {
    const what = `operation ${operation}`;
    const failed = await disturbed(whole, what, ({ disk }) => disk.failAt(operation, "crash"));
    if (failed !== "Crash" && failed !== "StorageError") others.push(`${what}: ${failed}`);
  }
  return others;
}

const { milliseconds } = storagePatience;
afterEach(() => void (storagePatience.milliseconds = milliseconds));

describe.each(["rounded", "calibrated"] as const)("a job that is %s", (method) => {
  let whole: Undisturbed;
  beforeAll(async () => {
    whole = await undisturbed(await planFixture("llama", "W8A8", METHODS[method], { ignore: IGNORE }));
  });

  it("ends with a folder", () => {
    expect([...whole.output.keys()]).toEqual(expect.arrayContaining(["config.json", "model.safetensors"]));
    expect(whole.operations).toBeGreaterThan(50);
  });

  it("tells of each layer what is done with it alone, from its first phase on", async () => {
    const machine = whole.job.machine();
    await machine.run();
    let now: Partial<Told> = {};
    const states = machine.told.map((change) => (now = { ...now, ...change }));
    const layers = ["model.layers.0", "model.layers.1"];
    const begun = layers.map((layer) => states.find(({ stepName }) => stepName === layer));
    const phase = method === "rounded" ? "quantizing" : "calibrating";
    expect(begun).toMatchObject([{ phase }, { phase }]);
    const modules = states.filter(({ detail }) => detail?.startsWith("model.layers."));
    expect(modules.filter(({ stepName, detail }) => !detail?.startsWith(`${stepName}.`))).toEqual([]);
  });

  it("can be told of by a receipt, the same from run to run, with the hashes of what was written", async () => {
    const texts: string[] = [];
    for (let run = 0; run < 2; run++) {
      const machine = whole.job.machine();
      const { jobId } = await machine.run();
      const result = await makeReceipt(jobId, () => undefined);
      expect(result.files.map(({ path }) => path)).toContain("receipt.json");
      expect(await makeReceipt(jobId, () => undefined)).toEqual(result);
      const [, bytes] = [...machine.disk.files()].find(([path]) => path.endsWith("receipt.json")) ?? [];
      texts.push(new TextDecoder().decode(bytes));
    }
    expect(texts[1]).toBe(texts[0]);
    const receipt = JSON.parse(texts[0] ?? "") as Receipt;
    const hashed = new Map(receipt.files.map(({ path, sha256 }) => [path, sha256]));
    const output = [...whole.output].filter(([path]) => path !== "README.md");
    expect(hashed).toEqual(new Map(output));
    expect(receipt.options.calibration?.source).toEqual(
      method === "rounded" ? undefined : { kind: "file", name: "ids.json", column: null },
    );
    expect(receipt.calibration?.tokens).toBe(method === "rounded" ? undefined : 48);
    expect(receipt.forward_products).toBe(method === "rounded" ? undefined : "F32");
  });

  it("goes on after a crash in any write, flush, truncation or deletion, and ends with the same bytes", async () => {
    expect(await otherEnds(whole, 1)).toEqual([]);
  });

  it.each([
    ["full", 1],
    ["short of bytes", 2],
  ] as const)("ends with a sentence when the disk is %s, and goes on with room", async (how, first) => {
    for (const operation of every(3, whole.operations, first)) {
      const failed = await disturbed(whole, `operation ${operation}`, ({ disk }) =>
        disk.failAt(operation, how),
      );
      // What no write follows ends as if there were room.
      expect(["StorageError", null], `operation ${operation}`).toContain(failed);
    }
  });

  it("ends with a sentence where the file store answers nothing any more, and goes on with one that does", async () => {
    storagePatience.milliseconds = 200;
    for (const operation of every(30, whole.operations)) {
      const failed = await disturbed(whole, `operation ${operation}`, ({ disk }) =>
        disk.failAt(operation, "silent"),
      );
      expect(["StorageError", null], `operation ${operation}`).toContain(failed);
    }
  });

  it("survives the loss of the GPU in any phase", async () => {
    for (const submit of every(4, whole.submits)) {
      expect(await disturbed(whole, `submit ${submit}`, ({ gpu }) => gpu.loseAt(submit))).toBeNull();
    }
  });

  it("ends where it is cancelled between two pieces of work, and goes on from its last finished step", async () => {
    let checkpoints = Number.POSITIVE_INFINITY;
    for (let at = 1; at <= checkpoints; at += 3) {
      const control = createJobControl();
      let passed = 0;
      const checkpoint = async () => {
        if (++passed === at) control.cancel();
        await control.checkpoint();
      };
      const failed = await disturbed(whole, `checkpoint ${at}`, () => undefined, { ...control, checkpoint });
      expect(["AbortError", null]).toContain(failed);
      if (failed === null) checkpoints = passed;
    }
    expect(checkpoints).toBeGreaterThan(10);
  });
});

/** Recipes that do more to a layer than GPTQ alone, and what they have beside a scheme. */
const PHASES: readonly (readonly [what: string, recipe: string])[] = [
  ["answers for the drift of its inputs", "GPTQModifier: {scheme: W8A8, drift: 0.5"],
  ["is refined after GPTQ", "GPTQModifier: {scheme: W8A8, refine: {}"],
  ["is refined after rounding to nearest", "QuantizationModifier: {scheme: W8A8, refine: {}"],
  ["has weighted ranges", "QuantizationModifier: {scheme: W8A8, weight_observer: hessian_mse"],
  ["is scaled by AWQ, as the original model has it", "AWQModifier: {n_grid: 3}, GPTQModifier: {scheme: W8A8"],
  ["is rotated", "SpinQuantModifier: {rotations: [R1, R2]}, GPTQModifier: {scheme: W8A8"],
];

describe.each(PHASES)("a job that %s", (_what, recipe) => {
  it("is another than without, goes on after a crash, and ends with the same bytes", async () => {
    const yaml = `s_stage: {q_modifiers: {${recipe}, ignore: [lm_head]}}}`;
    const job = await planFixture("llama", "", METHODS.calibrated, { yaml });
    const whole = await undisturbed(job);
    expect(whole.peakGpuBytes).toBeLessThanOrEqual(job.plan.peakGpuBytes);
    const plain = (await planFixture("llama", "W8A8", METHODS.calibrated)).machine();
    await plain.run();
    expect(whole.output.get("model.safetensors")).not.toBe(plain.output().get("model.safetensors"));
    expect(await otherEnds(whole, 16)).toEqual([]);
  });
});

describe("a job that follows the original model, too", () => {
  const recipeOf = (more = "", targets = "Linear", ignore = "lm_head") =>
    `s_stage: {q_modifiers: {GPTQModifier: {targets: ["${targets}"], ignore: [${ignore}], scheme: W8A8${more}}}}`;
  const planned = async (name: string, yaml: string, changes: Parameters<typeof planFixture>[3] = {}) =>
    await planFixture(name, "", METHODS.calibrated, { yaml, ...changes });

  it("holds what its plan says within any budget, with states in host memory and in several passes", async () => {
    const roomy = await planned("llama", recipeOf(", drift: 0.5"));
    const plain = await planned("llama", recipeOf());
    expect(roomy.plan.peakGpuBytes).toBeGreaterThan(plain.plan.peakGpuBytes);
    const ways = new Set<string>();
    for (const kibibytes of [1516, 1206, 1106]) {
      const gpuBudgetBytes = kibibytes * 1024;
      const job = await planned("llama", recipeOf(", drift: 0.5"), { gpuBudgetBytes });
      const machine = job.machine();
      const { peakGpuBytes } = await machine.run();
      expect(peakGpuBytes).toBeLessThanOrEqual(job.plan.peakGpuBytes);
      expect(machine.gpu.mostHeldBytes).toBeLessThanOrEqual(gpuBudgetBytes);
      const { hidden, layers = [] } = job.plan.calibration?.plan ?? {};
      for (const { passes } of layers) ways.add(`${passes.length} passes, states on ${hidden?.place}`);
    }
    expect([...ways].toSorted()).toEqual([
      "1 passes, states on gpu",
      "1 passes, states on host",
      "2 passes, states on gpu",
    ]);
  });

  it("takes it through layers of which nothing is quantized", async () => {
    const last = await planned("llama", recipeOf(", drift: 0.5", "re:.*layers[.]1[.].*"));
    const plain = await planned("llama", recipeOf("", "re:.*layers[.]1[.].*"));
    const outputs = [last, plain].map(async (job) => {
      const own = job.machine();
      await own.run();
      return own.output().get("model.safetensors");
    });
    const [drifted, still] = await Promise.all(outputs);
    expect(drifted).not.toBe(still);
  });

  it("is refused where nothing drifts, or tokens cannot be compared", async () => {
    const drift = recipeOf(", drift: 0.5");
    await expect(planned("llama", drift, { propagateError: false })).rejects.toThrow(
      "it would change nothing",
    );
    await expect(planned("qwen2-moe", drift)).rejects.toThrow("is not done for experts yet");
    const beside = [{ scheme: "W8A8", method: METHODS.calibrated }];
    await expect(planned("llama", drift, { beside })).rejects.toThrow("Make its result in a job of its own");
  });
});

describe("a job whose weights AWQ scales", () => {
  it("goes on after a crash with the scales of the layers that it had finished, and ends with the same bytes", async () => {
    const job = await planFixture("llama", "W8A8", METHODS.rounded, { rewriter: "AWQModifier" });
    const whole = await undisturbed(job);
    const plain = (await planFixture("llama", "W8A8", METHODS.rounded)).machine();
    await plain.run();
    expect(whole.output.get("model.safetensors")).not.toBe(plain.output().get("model.safetensors"));
    expect(await otherEnds(whole, 8)).toEqual([]);
  });

  it("runs samples through the next layer meanwhile where there is room for two: the same bytes within the plan", async () => {
    const planned = async (hostBudgetBytes?: number) =>
      await planFixture("llama", "W8A8", METHODS.rounded, {
        rewriter: "AWQModifier",
        ...(hostBudgetBytes !== undefined && { hostBudgetBytes }),
      });
    const ahead = await planned();
    const fitted = ahead.plan.calibration?.plan;
    expect(fitted?.sideBySide).toBe(true);
    const alone = await planned(3 * (fitted?.layerPlace.layerBytes ?? 0) - 1);
    expect(alone.plan.calibration?.plan.sideBySide).toBe(false);
    const [one, other] = [await undisturbed(ahead), await undisturbed(alone)];
    expect(one.output.get("model.safetensors")).toBe(other.output.get("model.safetensors"));
    expect(one.peakGpuBytes).toBeGreaterThan(other.peakGpuBytes);
    expect(one.peakGpuBytes).toBeLessThanOrEqual(ahead.plan.peakGpuBytes);
    expect(other.peakGpuBytes).toBeLessThanOrEqual(alone.plan.peakGpuBytes);
  });
});

it.each(["W4A16", "W3A16"])(
  "packed codes read back as the weights that they stand for: %s",
  async (scheme) => {
    const job = await planFixture("llama", scheme, METHODS.rounded, { groupSize: 32 });
    // A job ends with the verification of what it wrote.
    await expect(job.machine().run()).resolves.toMatchObject({ notes: [] });
  },
);
