import { expect, it } from "vitest";
import { groupsOf } from "../../formats/recipe/recipe.ts";
import { linearClasses } from "../../model/linear-classes.ts";
import { packedNotes } from "./packed-note.ts";
import { parseRecipe } from "../recipe/parse-recipe.ts";

function notes(config: object, scheme: string, ...modules: readonly string[]) {
  const [group] = groupsOf(
    parseRecipe(`s_stage: {q_modifiers: {QuantizationModifier: {scheme: ${scheme}}}}`),
  );
  if (!group) throw new Error("a recipe with a scheme has a group");
  const raw = { ...config };
  return packedNotes(
    raw,
    linearClasses(raw),
    modules.map((module) => ({ module, group })),
  );
}

const FALCON = "transformer.h.0.mlp.dense_h_to_4h";

it("packed weights are told of where transformers' classes ask for plain ones", () => {
  for (const scheme of ["W4A16", "NVFP4A16", "MXFP4A16"])
    expect(notes({ model_type: "falcon" }, scheme, FALCON)).toEqual([
      expect.objectContaining({ server: "transformers", sentence: expect.stringMatching(/will not open/) }),
    ]);
  expect(notes({ model_type: "falcon" }, "FP8_DYNAMIC", FALCON)).toEqual([]);
  expect(notes({ model_type: "llama" }, "W4A16", "model.layers.0.mlp.up_proj")).toEqual([]);
});

it.each([
  ["t5", "encoder.block.0.layer.0.SelfAttention.q"],
  ["siglip", "text_model.encoder.layers.0.mlp.fc1"],
  ["mamba", "backbone.layers.0.mixer.in_proj"],
  ["granite_speech5_ctc", "encoder.out"],
])(
  "the table knows it of encoders, state spaces and Linears that share a weight: %s",
  (model_type, module) => {
    expect(notes({ model_type }, "W4A16", module)).toHaveLength(1);
  },
);

it("modules that nobody asks are not named", () => {
  const quantized = [
    "vision_model.encoder.layers.0.mlp.fc1",
    "text_model.encoder.layer.0.attention.self.query",
  ];
  const [note] = notes({ model_type: "chinese_clip" }, "W4A16", ...quantized);
  expect(note?.modules).toEqual(quantized.slice(0, 1));
});
