import { describe, expect, it } from "vitest";
import type { JobOptions } from "../../api/job-options.ts";
import { readConfig } from "../../plan/checkpoint/read-config.ts";
import { loadCheckpoint } from "../../testing/fixtures/load-checkpoint.ts";
import type { OpenModel } from "../inspect/open-model.ts";
import { rotateModel } from "../inspect/rotate-model.ts";
import { planJob, readRecipe } from "./plan-job.ts";

function inspected(name: string): OpenModel {
  const { config, tensors } = loadCheckpoint(name);
  const text = new TextEncoder().encode(JSON.stringify(config));
  const known = { config: readConfig(text), tensors, unsplit: tensors };
  return { ...known, source: { key: name }, dequantized: new Map(), summary: {} } as unknown as OpenModel;
}

const ROUNDING = "QuantizationModifier: {scheme: FP8_DYNAMIC, ignore: [lm_head]}";

function optionsFor(modifiers: string): JobOptions {
  const recipe = { kind: "yaml", text: `q_stage: {q_modifiers: {${modifiers}}}` } as const;
  return { recipe, gpuBudgetBytes: 2 ** 28, keepSource: false, calibration: null };
}

describe("the plan of a rotated model", () => {
  it("is that of the plain one, with a head of its own that is not quantized", async () => {
    const model = inspected("llama");
    const plain = await planJob(model, optionsFor(ROUNDING));
    const options = optionsFor(`SpinQuantModifier: {}, ${ROUNDING}`);
    const rotated = await planJob(rotateModel(model, readRecipe(options.recipe).rotation), options);
    const namesOf = ({ output }: typeof plain) =>
      output.shards.flatMap(({ entries }) => entries.map(({ name }) => name));
    expect(namesOf(rotated).toSorted()).toEqual([...namesOf(plain), "lm_head.weight"].toSorted());
    expect(rotated.ignored).toEqual(["lm_head"]);
    expect(rotated.quantizedModules).toBe(plain.quantizedModules);
    expect(rotated.jobId).not.toBe(plain.jobId);
    const head = 256 * 64 * 2;
    expect(rotated.sourceBytes).toBe(plain.sourceBytes + head);
    expect(rotated.recipeYaml).toContain("SpinQuantModifier");
  });
});
