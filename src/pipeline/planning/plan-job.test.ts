import { describe, expect, it } from "vitest";
import { wholeTowers } from "./plan-job.ts";

describe("towers that stay as they are", () => {
  const ignored = ["lm_head", "vision_tower.encoder.layers.0.mlp.fc1", "model.visual.blocks.0.attn.qkv"];

  it("are ignored under whatever name a loader gives them", () => {
    const patterns = wholeTowers(ignored, ["language_model.model.layers.0.mlp.up_proj"]);
    expect(patterns).toEqual(["re:.*vision_tower.*", "re:.*visual.*"]);
  });

  it("are listed module by module where a recipe quantizes a part of them", () => {
    expect(wholeTowers(ignored, ["vision_tower.encoder.layers.0.mlp.fc2"])).toEqual(["re:.*visual.*"]);
  });
});
