// An inspected model as a recipe rotates it: other tensors from the same files, and a head that is no longer the embedding's
// table. Everything behind it, planning, calibration and verification, sees a plain checkpoint.

import type { SpinQuantSettings } from "../../formats/modifiers/spinquant.ts";
import { checkShapes } from "../../model/check-tensors.ts";
import { describeDecoder } from "../../model/describe-decoder.ts";
import { changedConfig } from "../../package/quantization-config.ts";
import type { ModelConfig } from "../../plan/checkpoint/read-config.ts";
import { rotatedTensors } from "../../plan/rotation/rotated-tensors.ts";
import type { OpenModel } from "./open-model.ts";

/** What random signs are drawn with: the same ones for every model, so that a job can be gone on with. */
const SEED = 0;

/** Models that were rotated before, so that a plan that is made again finds what it knew. */
const rotatedModels = new WeakMap<OpenModel, Map<string, OpenModel>>();

/**
 * The model with its tensors rotated; itself where nothing is to be.
 * @throws UnsupportedModelError if it is not known how the model uses its hidden states, or a rotation cannot pass.
 */
export function rotateModel(model: OpenModel, settings: SpinQuantSettings | undefined): OpenModel {
  if (!settings) return model;
  const known = rotatedModels.get(model) ?? new Map<string, OpenModel>();
  rotatedModels.set(model, known);
  const key = JSON.stringify(settings);
  const found = known.get(key) ?? rotated(model, settings);
  known.set(key, found);
  return found;
}

function rotated(model: OpenModel, { rotations, transform_type }: SpinQuantSettings): OpenModel {
  const { config, tensors } = model;
  const description = describeDecoder(
    config.raw,
    tensors.map(({ name }) => name),
  );
  checkShapes(description, tensors);
  const seed = transform_type === "random-hadamard" ? SEED : null;
  const made = rotatedTensors(tensors, description, { rotations, seed });
  return {
    ...model,
    tensors: made.tensors,
    rotation: made,
    config: made.untiedBytes > 0 || isUntiedBy(rotations, config) ? untiedConfig(config) : config,
  };
}

/** True where head and embedding may have been equal tensors, and are not any more. */
function isUntiedBy(rotations: SpinQuantSettings["rotations"], config: ModelConfig): boolean {
  return rotations.includes("R1") && config.raw["tie_word_embeddings"] === true;
}

function untiedConfig(config: ModelConfig): ModelConfig {
  const untied = { tie_word_embeddings: false };
  return { ...config, raw: { ...config.raw, ...untied }, text: changedConfig(config.text, untied) };
}
