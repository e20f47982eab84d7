import { describe, expect, it } from "vitest";
import { linearClasses } from "../../model/linear-classes.ts";
import { weightOf } from "../checkpoint/find-linears.ts";
import { recipeFromControls, defaultControls } from "./choose-recipe.ts";
import { listIgnored, wholeTowers } from "./list-ignored.ts";

describe("towers that stay as they are", () => {
  const ignored = ["lm_head", "vision_tower.encoder.layers.0.mlp.fc1", "model.visual.blocks.0.attn.qkv"];

  it("are ignored under whatever name a loader gives them", () => {
    const patterns = wholeTowers(ignored, ["language_model.model.layers.0.mlp.up_proj"]);
    expect(patterns).toEqual(["re:.*vision_tower.*", "re:.*visual.*"]);
  });

  it("are listed module by module where a recipe quantizes a part of them", () => {
    expect(wholeTowers(ignored, ["vision_tower.encoder.layers.0.mlp.fc2"])).toEqual(["re:.*visual.*"]);
  });

  it("are listed module by module where the pattern would mean a quantized module elsewhere", () => {
    expect(wholeTowers(["audio_head.proj", "visual.merger.proj"], ["text_audio_head.proj"])).toEqual([
      "re:.*visual.*",
    ]);
  });
});

describe("the list of what a loader must not expect quantized", () => {
  const recipe = recipeFromControls(defaultControls("W8A8"));
  const list = (type: string, ignored: readonly string[], quantized: readonly string[], stacked = false) =>
    listIgnored({
      classes: linearClasses({ model_type: type }),
      recipe,
      ignored,
      quantized,
      stored: new Set([...ignored, ...quantized]),
      stacked,
    });

  it("has single experts where all of a layer stay in one tensor", () => {
    expect(list("llama", ["lm_head"], ["model.layers.0.mlp.up_proj"], true)).toEqual([
      "lm_head",
      "re:.*\\.experts\\.\\d+\\..*",
    ]);
  });

  it("has the names that the loader knows beside those of the files", () => {
    const module = "language_model.model.layers.3.mlp.up_proj";
    expect(list("llava", [module], ["language_model.model.layers.0.mlp.up_proj"])).toEqual([
      "language_model.model.layers.3.mlp.up_proj",
      "lm_head",
      "model.language_model.layers.3.mlp.up_proj",
    ]);
    expect(list("gpt_neox", ["embed_out"], ["gpt_neox.layers.0.mlp.dense_4h_to_h"])).toEqual([
      "embed_out",
      "lm_head",
    ]);
    expect(list("gpt_neox", [], ["embed_out"])).toEqual([]);
  });

  it("has the Linears that loading makes of an attention's in_proj_weight", () => {
    const classes = linearClasses({ model_type: "tipsv2_text_model" });
    const name = "text_encoder.transformer.resblocks.3.attn.in_proj_weight";
    const found = weightOf({ name, dtype: "BF16", shape: [96, 32] }, classes);
    expect(found).toMatchObject({ kind: "plain", plain: { name, reason: "converted" } });
    expect(list("tipsv2_text_model", [name], ["text_encoder.transformer.resblocks.3.mlp.c_fc"])).toEqual(
      expect.arrayContaining(
        ["q_proj", "k_proj", "v_proj"].map((own) => `encoder.layers.3.self_attn.${own}`),
      ),
    );
    expect(weightOf({ name: `${name}s`, dtype: "BF16", shape: [96, 32] }, classes)).toBeNull();
  });

  it("has a tower's pattern instead of the loader's names of its modules", () => {
    const tower = "vision_tower.vision_model.encoder.layers.0.mlp.fc1";
    expect(list("llava", [tower, "lm_head"], ["model.language_model.layers.0.mlp.up_proj"])).toEqual([
      "lm_head",
      "re:.*vision_tower.*",
      tower,
    ]);
  });

  it("has the pattern of a tower that files and loader call by different names", () => {
    const tower = "model.visual.layers.linear_7";
    expect(
      list("inkling_mm_model", [tower, "model.visual.layers.linear_0"], ["model.llm.layers.0.attn.wq_du"]),
    ).toEqual(["lm_head", "model.visual.layers.linear_0", tower, "re:.*vision_tower.*", "re:.*visual.*"]);
  });

  it("has the tied head, whatever the architecture calls it, and nothing where nothing is quantized", () => {
    expect(list("whisper", [], ["model.decoder.layers.0.fc1"])).toEqual(["lm_head", "proj_out"]);
    expect(list("llama", ["lm_head"], [])).toEqual([]);
  });
});
