import { describe, expect, it } from "vitest";
import { quantizingModifiers, type Recipe } from "../../formats/recipe/recipe.ts";
import { tensorBytes } from "../../formats/safetensors/safetensors.ts";
import { linearClasses } from "../../model/linear-classes.ts";
import { defaultControls, recipeFromControls } from "../recipe/choose-recipe.ts";
import { parseRecipe } from "../recipe/parse-recipe.ts";
import { planSteps } from "../plan-steps.ts";
import { servableRecipe, serverNotes } from "./server-notes.ts";

const ATTENTION = "model.layers.0.self_attn";
const MLP = "model.layers.0.mlp";

function planned(recipe: Recipe, shapes: Readonly<Record<string, readonly [number, number]>>) {
  const tensors = Object.entries(shapes).map(([module, shape]) => {
    const tensor = { name: `${module}.weight`, dtype: "BF16", shape } as const;
    return { ...tensor, start: 0, end: tensorBytes(tensor), file: "model.safetensors" };
  });
  const classes = linearClasses({ model_type: "llama" });
  const { steps, ignored } = planSteps(tensors, recipe, { classes });
  const tasks = steps.flatMap(({ quantize }) => quantize);
  const notes = serverNotes(tasks, ignored);
  return { notes, servable: servableRecipe(recipe, notes, tasks) };
}

const SHAPES = {
  [`${ATTENTION}.q_proj`]: [256, 256],
  [`${ATTENTION}.k_proj`]: [64, 256],
  [`${ATTENTION}.v_proj`]: [64, 256],
  [`${ATTENTION}.o_proj`]: [200, 256],
  [`${MLP}.gate_proj`]: [320, 256],
  [`${MLP}.up_proj`]: [320, 256],
  [`${MLP}.down_proj`]: [256, 320],
} as const;

describe("what vLLM asks beyond what loads", () => {
  it("is nothing of a usual recipe", () => {
    const { notes, servable } = planned(recipeFromControls(defaultControls("W8A8")), SHAPES);
    expect(notes).toEqual([]);
    expect(servable).toBeNull();
  });

  it("is one scheme for a fused set, also where a part is ignored", () => {
    const recipe = parseRecipe(
      `s_stage: {q_modifiers: {QuantizationModifier: {scheme: W8A8, ignore: ["re:.*v_proj", "re:.*up_proj"]}}}`,
    );
    const { notes, servable } = planned(recipe, SHAPES);
    expect(notes.map(({ modules }) => modules)).toEqual([
      ["gate_proj", "up_proj"]
        .map((name) => `${MLP}.${name}`)
        .concat(["q_proj", "k_proj", "v_proj"].map((name) => `${ATTENTION}.${name}`)),
    ]);
    expect(notes[0]?.sentence).toMatch(/vLLM will refuse.*up_proj, .*v_proj would not be quantized/);
    expect(servable && planned(servable, SHAPES).notes).toEqual([]);
  });

  it("is one scheme for all experts of a layer", () => {
    const shapes = Object.fromEntries(
      ["gate_proj", "up_proj", "down_proj"].map((name) => [`${MLP}.experts.0.${name}`, [64, 64]] as const),
    );
    const recipe = parseRecipe(
      `s_stage: {q_modifiers: {QuantizationModifier: {scheme: W8A8, ignore: ["re:.*down_proj"]}}}`,
    );
    expect(planned(recipe, shapes).notes).toMatchObject([{ modules: { length: 3 } }]);
  });

  it("is whole blocks: rows of fused parts, and columns in groups of the activation", () => {
    const { notes, servable } = planned(recipeFromControls(defaultControls("FP8_BLOCK")), SHAPES);
    expect(notes.map(({ modules }) => modules)).toEqual([
      [`${MLP}.gate_proj`, `${MLP}.up_proj`, `${ATTENTION}.k_proj`, `${ATTENTION}.v_proj`],
      [`${MLP}.down_proj`],
    ]);
    expect(servable && planned(servable, SHAPES).notes).toEqual([]);
    // o_proj is fused with nothing: its last block may be small.
    expect(servable && quantizingModifiers(servable)[0]?.ignore).not.toContain(`${ATTENTION}.o_proj`);
  });

  it("offers no recipe that would quantize nothing", () => {
    const shapes = { [`${MLP}.gate_proj`]: [320, 256], [`${MLP}.up_proj`]: [320, 256] } as const;
    const { notes, servable } = planned(recipeFromControls(defaultControls("FP8_BLOCK")), shapes);
    expect(notes).toHaveLength(1);
    expect(servable).toBeNull();
  });
});
