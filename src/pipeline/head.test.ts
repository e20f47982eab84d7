// A head that a recipe does not ignore, in a model that has one of its own: the last module of a job that calibrates.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { mergeParts } from "../../scripts/cli/merge/merge-parts.ts";
import type { AskedRecipe } from "../testing/jobs/asked-job.ts";
import type { Machine } from "../testing/jobs/machine.ts";
import { planFixture } from "../testing/jobs/plan-fixture.ts";
import { openFolders } from "../testing/sources/open-folders.ts";
import { outsideNotes } from "./planning/outside-note.ts";

const GPTQ = { name: "GPTQModifier", dampening_frac: 0.01, actorder: "static" } as const;
const ROUNDED = { name: "QuantizationModifier" } as const;
const MODEL = "mistral-sliding";
const LAYERS = ["model.layers.0", "model.layers.1"];
const HEAD = "after the layers";

type Changes = Parameters<typeof planFixture>[3];

/** A job of no more modules than differ, and the head. */
const plan = async (changes: Changes = {}, name = MODEL) =>
  await planFixture(name, "W8A8", GPTQ, { ignore: ["re:.*(v|o|up)_proj"], ...changes });
const yaml = (modifiers: string) => `s_stage: {q_modifiers: {${modifiers}}}`;

async function made(changes: Changes = {}): Promise<Machine> {
  const machine = (await plan(changes)).machine();
  await machine.run();
  return machine;
}

interface Reported {
  readonly module: string;
  readonly tokens: number;
  readonly loss: number;
  readonly rounded_to_nearest: boolean;
}

function reported(machine: Machine): Reported[] {
  const report = machine.files().get("quantization-report.json");
  return JSON.parse(new TextDecoder().decode(report)).modules;
}

function weights(machine: Machine) {
  return machine.files().get("model.safetensors");
}

describe("a head that GPTQ is asked for", () => {
  it("is quantized behind all layers, from all tokens, and is in the report", async () => {
    const job = await plan();
    const calibrated = job.plan.steps.filter((step) => step.calibrated !== null);
    expect(calibrated.map(({ name }) => name)).toEqual([...LAYERS, HEAD]);
    expect(calibrated.map((step) => step.calibrated?.isLast)).toEqual([false, false, true]);
    const machine = job.machine();
    const { peakGpuBytes } = await machine.run();
    expect(peakGpuBytes).toBeLessThanOrEqual(job.plan.peakGpuBytes);
    expect(machine.gpu.liveBytes).toBe(0);
    const last = reported(machine).at(-1);
    expect(last).toMatchObject({ module: "lm_head", tokens: 48, rounded_to_nearest: false });
    expect(last?.loss).toBeGreaterThan(0);
    const ignored = await made({ ignore: ["lm_head", "re:.*(v|o|up)_proj"] });
    expect(
      reported(machine)
        .slice(0, -1)
        .map(({ module }) => module),
    ).toEqual(reported(ignored).map(({ module }) => module));
  });

  it("ends with the same bytes after a crash at any operation, and after the loss of the GPU", async () => {
    const job = await plan();
    const whole = job.machine();
    await whole.run();
    for (let at = 1; at <= Math.max(whole.disk.operations, whole.gpu.submits); at += 9) {
      const machine = job.machine();
      machine.disk.failAt(at, "crash");
      machine.gpu.loseAt(at);
      await machine.run().catch(() => undefined);
      machine.disk.recover();
      await machine.run();
      expect(machine.output(), `after operation and submit ${at}`).toEqual(whole.output());
    }
  });

  it("goes through the GPU in tiles where it does not fit, within the plan", async () => {
    const tilesIn = async (kibibytes: number) => {
      const job = await plan({ gpuBudgetBytes: kibibytes * 1024 });
      const { peakGpuBytes } = await job.machine().run();
      expect(peakGpuBytes).toBeLessThanOrEqual(job.plan.peakGpuBytes);
      expect(job.plan.peakGpuBytes).toBeLessThanOrEqual(kibibytes * 1024);
      const step = job.plan.steps.find(({ name }) => name === HEAD);
      expect(step?.calibrated?.schedule).toMatchObject({ overlap: false, settling: null });
      return step?.calibrated?.schedule.tileRows.get("lm_head");
    };
    expect(await tilesIn(64 * 1024)).toBe(256);
    expect(await tilesIn(1000)).toBe(128);
  });

  it("is rounded to nearest where its name puts it in front of the layers", async () => {
    const { plan: planned } = await plan({}, "gpt-neox");
    expect(planned.steps.filter((step) => step.calibrated !== null).map(({ name }) => name)).not.toContain(
      HEAD,
    );
    expect(outsideNotes(planned)).toEqual([expect.stringMatching(/^embed_out is rounded to nearest/)]);
    expect(outsideNotes((await plan()).plan)).toEqual([]);
  });
});

describe("several results of which one has its head quantized by GPTQ", () => {
  const beside = [{ scheme: "W8A8", method: ROUNDED } satisfies AskedRecipe];
  const outputs = (machine: Machine, folder = "") =>
    [...machine.output()]
      .filter(([path]) => path.endsWith(".safetensors"))
      .map(([path, digest]) => [folder + path, digest] as const);

  it.each([
    ["leads", yaml("GPTQModifier: {scheme: W8A8}"), beside],
    ["is led", undefined, [{ scheme: "W8A16", groupSize: 32, method: GPTQ } satisfies AskedRecipe]],
  ])("have the bytes of jobs of their own: it %s", async (_, recipe, others) => {
    const own = { propagateError: false, ignore: [], ...(recipe === undefined ? {} : { yaml: recipe }) };
    const together = (await plan({ ...own, beside: others })).machine();
    await together.run();
    const first = await plan(own);
    const alone = first.machine();
    await alone.run();
    expect(outputs(together)).toEqual(
      expect.arrayContaining(outputs(alone, `${first.plan.jobId}/output/`).map((each) => [...each])),
    );
  });
});

describe("a divided job", () => {
  const original = { propagateError: false };

  it("has the head in the range that ends with the last layer, and the undivided job's bytes", async () => {
    const folders = await openFolders("head-parts-");
    const parts = [
      { kind: "layers", first: 0, last: 0 },
      { kind: "layers", first: 1, last: 1 },
      { kind: "rest" },
    ] as const;
    const saved = [];
    for (const [index, part] of parts.entries()) {
      const machine = await made({ ...original, part });
      saved.push(await folders.save(`part-${index}`, machine.files()));
    }
    const out = folders.fresh();
    await mergeParts(saved, out);
    const undivided = weights(await made(original));
    expect((await readFile(join(out, "model.safetensors"))).equals(undivided ?? new Uint8Array())).toBe(true);
  });

  it("has it as a share of the samples, with the undivided job's bytes where no errors are seen", async () => {
    const share = { index: 0, of: 1, exchange: "" };
    const alone = await made({ share });
    expect(reported(alone).at(-1)).toMatchObject({ module: "lm_head", tokens: 48 });
    expect(weights(await made({ ...original, share }))).toEqual(weights(await made(original)));
  });
});

describe("a head whose input is measured", () => {
  it("has its scale where it is rounded to nearest", async () => {
    const activations = "{num_bits: 8, type: int, strategy: tensor, dynamic: false}";
    const weighing = "{num_bits: 8, type: int, strategy: channel}";
    const groups = `config_groups: {g: {targets: ["re:.*q_proj", lm_head], weights: ${weighing}, input_activations: ${activations}}}`;
    const job = await plan({ yaml: yaml(`QuantizationModifier: {${groups}}`) });
    const machine = job.machine();
    await machine.run();
    // What takes no time has no progress to tell.
    expect(job.plan.steps.at(-1)?.calibrated?.work.calibrating).toBeGreaterThan(0);
    const scales = job.plan.calibration?.layers.at(-1)?.scales;
    expect(scales).toMatchObject([{ prefix: "lm_head.input", reached: "lm_head" }]);
    expect(Buffer.from(weights(machine) ?? []).toString("latin1")).toContain("lm_head.input_scale");
  });
});
