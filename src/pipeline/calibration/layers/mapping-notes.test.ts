// What plans say of the mappings that a modifier leaves out, on tiny checkpoints.

import { describe, expect, it } from "vitest";
import { rewritingModifiers } from "../../../formats/recipe/recipe.ts";
import { readConfig } from "../../../plan/checkpoint/read-config.ts";
import { planSteps } from "../../../plan/plan-steps.ts";
import { parseRecipe } from "../../../plan/recipe/parse-recipe.ts";
import { CALIBRATION_OPTIONS } from "../../../testing/calibration-options.ts";
import { loadCheckpoint } from "../../../testing/fixtures/load-checkpoint.ts";
import { planCalibrationJob } from "../plan-calibrated-layers.ts";
import { mappingNotes } from "./mapping-notes.ts";

const UP = "mappings: [{smooth_layer: 're:.*up_proj$', balance_layers: ['re:.*down_proj$']}]";

function notesOf(name: string, modifier: string): string[] {
  const { config, tensors } = loadCheckpoint(name);
  const recipe = parseRecipe(
    `s_stage: {q_modifiers: {${modifier}, QuantizationModifier: {scheme: W8A8, ignore: [lm_head]}}}`,
  );
  const { steps } = planSteps(tensors, recipe);
  const limits = { budgetBytes: 2 ** 30, maxBufferBytes: 2 ** 27, hasMatrixUnits: false };
  const set = { sequences: [new Uint32Array(16)], tokens: 16, notes: [] };
  const job = { steps, cache: null, rewriting: rewritingModifiers(recipe) };
  const model = { config: readConfig(new TextEncoder().encode(JSON.stringify(config))), tensors };
  return mappingNotes(planCalibrationJob(model, job, set, CALIBRATION_OPTIONS, limits).layers);
}

describe("what is said of a modifier's mappings", () => {
  it("is that SmoothQuant leaves experts, unless the recipe names mappings", () => {
    expect(notesOf("qwen3-moe", "SmoothQuantModifier: {}")).toEqual([
      expect.stringMatching(/^SmoothQuant leaves the inputs of experts in \d layers as they are/),
    ]);
    expect(notesOf("qwen3-moe", `SmoothQuantModifier: {${UP}}`)).toEqual([]);
    expect(notesOf("llama", "SmoothQuantModifier: {}")).toEqual([]);
  });

  it("is that AWQ leaves what comes to Mamba-2", () => {
    const notes = notesOf("falcon-h1", "AWQModifier: {}");
    expect(notes).toContainEqual(expect.stringMatching(/^AWQ leaves the norm before Mamba-2 in \d layers/));
    expect(notesOf("falcon-h1", `AWQModifier: {${UP}}`)).toEqual([]);
  });

  it("is that the scales of latent attention are not told apart by a block", () => {
    expect(notesOf("deepseek-v3", "AWQModifier: {loss: block}")).toContainEqual(
      expect.stringMatching(
        /apart by the errors of the Linears that read it, not by a block: latent attention,/,
      ),
    );
  });
});
