// What every preset would make of a model: for comparison, and to choose from where a recipe does not fit.

import { LayerpressError } from "../../errors.ts";
import { PRESET_NAMES, type PresetName, PRESETS } from "../../formats/schemes/presets.ts";
import { isStaticActivation } from "../../formats/schemes/quantization-args.ts";
import { tensorBytes } from "../../formats/safetensors/safetensors.ts";
import { linearClasses } from "../../model/linear-classes.ts";
import { defaultControls, recipeFromControls } from "../../plan/recipe/choose-recipe.ts";
import { outputSpecs } from "../../plan/plan-output.ts";
import { planSteps } from "../../plan/plan-steps.ts";
import type { PresetSize } from "../../api/compressor-api.ts";
import type { OpenModel } from "../inspect/open-model.ts";

const presetSizesOf = new WeakMap<OpenModel, readonly PresetSize[]>();

/** What each preset would make of this model; a preset that cannot be applied says why. Found once a model. */
export function presetSizes(model: OpenModel): readonly PresetSize[] {
  const known = presetSizesOf.get(model);
  if (known) return known;
  const sizes = PRESET_NAMES.map((scheme) => ({
    scheme,
    ...describePreset(scheme),
    ...presetBytes(model, scheme),
  }));
  presetSizesOf.set(model, sizes);
  return sizes;
}

function describePreset(name: PresetName): Pick<PresetSize, "title" | "sentence" | "needsCalibration"> {
  const { title, sentence, scheme } = PRESETS[name];
  return { title, sentence, needsCalibration: isStaticActivation(scheme.input_activations) };
}

function presetBytes(model: OpenModel, scheme: PresetName): Pick<PresetSize, "resultBytes" | "problem"> {
  try {
    const classes = linearClasses(model.config.raw);
    const plan = planSteps(model.tensors, recipeFromControls(defaultControls(scheme)), { classes });
    const resultBytes = outputSpecs(plan).reduce((sum, spec) => sum + tensorBytes(spec), 0);
    return { resultBytes, problem: null };
  } catch (error) {
    if (!(error instanceof LayerpressError)) throw error;
    return { resultBytes: null, problem: error.message };
  }
}
