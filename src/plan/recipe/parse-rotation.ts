// LLM Compressor's SpinQuantModifier as a recipe writes it.

import * as v from "valibot";
import {
  FUSED_ROTATIONS,
  SPIN_QUANT_SETTINGS,
  type SpinQuantSettings,
  TRANSFORM_TYPES,
} from "../../formats/modifiers/spinquant.ts";
import { showValue } from "../../formats/text/show-value.ts";
import type { RecipeDocument } from "./recipe-document.ts";
import { absent, fields, must, oneOf, schedule, suggest } from "./recipe-schema.ts";

const ONLINE = new Set<unknown>(["R3", "R4"]);

const rotation = v.pipe(
  v.unknown(),
  v.transform((value) => (typeof value === "string" ? value.toUpperCase() : value)),
  v.picklist(FUSED_ROTATIONS, ({ input }) =>
    ONLINE.has(input)
      ? `${String(input)} is computed while the model runs, which files alone cannot hold; R1 and R2 are multiplied into the weights`
      : `${showValue(input)} is not a rotation. ${suggest(input, FUSED_ROTATIONS)}`,
  ),
);

const never = (what: string) => v.optional(v.literal(false, `${what} is not supported: leave it out`), false);

export const spinQuantSchema = fields("SpinQuantModifier", {
  ...schedule,
  rotations: v.optional(
    v.pipe(
      v.array(rotation, must("a list of rotations")),
      v.minLength(1, "names no rotation: give R1, R2 or both"),
    ),
    [...FUSED_ROTATIONS],
  ),
  transform_type: v.optional(oneOf("a transform that is offered here", TRANSFORM_TYPES), "hadamard"),
  randomize: never("A rotation of its own for each place"),
  learnable: never("Learning rotations"),
  precision: v.nullish(
    v.picklist(
      ["torch.float64", "float64"],
      "is float64 here, as it is in LLM Compressor unless told otherwise: leave it out",
    ),
  ),
  transform_block_size: absent(
    "Rotations of blocks are not supported: leave it out, and whole rows are rotated",
  ),
  mappings: absent("Which Linears are rotated follows from the model: leave it out"),
  norm_mappings: absent("Which norms are folded follows from the model: leave it out"),
  transform_config: absent("Transforms of one's own are not supported: leave it out, and name rotations"),
});

/** @throws RecipeError that names line, column and reason. */
export function parseRotation(document: RecipeDocument, path: readonly string[]): SpinQuantSettings {
  if (document.valueAt(path) === null) return SPIN_QUANT_SETTINGS;
  const { rotations, transform_type } = document.parseAt(path, spinQuantSchema);
  return { rotations: FUSED_ROTATIONS.filter((each) => rotations.includes(each)), transform_type };
}
