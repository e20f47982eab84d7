import { describe, expect, it } from "vitest";
import { checkLayers, checkShardNames } from "./check-complete.ts";

describe("shards by their names", () => {
  it("are all there, or those that are not are named", () => {
    expect(() =>
      checkShardNames(["model-00001-of-00003.safetensors", "model-00003-of-00003.safetensors"]),
    ).toThrow(
      "The names of the files promise 3 shards, but 1 of them is not here: model-00002-of-00003.safetensors.",
    );
    expect(() => checkShardNames(["model-00001-of-00099.safetensors"])).toThrow(
      /98 of them are not here.* and 94 more/,
    );
    expect(() => checkShardNames(["model-00001-of-99999.safetensors"])).toThrow(/promise 99999 shards/);
  });

  it("may be numbered in two sets, or not at all", () => {
    const two = ["a", "b"].flatMap((stem) =>
      [1, 2].map((number) => `${stem}-0000${number}-of-00002.safetensors`),
    );
    expect(() => checkShardNames([...two, "adapter.safetensors"])).not.toThrow();
  });
});

describe("layers that config.json counts", () => {
  const layers = (prefix: string, numbers: readonly number[]) =>
    numbers.map((number) => `${prefix}.${number}.mlp.up_proj.weight`);

  it("are in the files, or those that are not are named", () => {
    const config = { num_hidden_layers: 4 };
    expect(() => checkLayers(layers("model.layers", [0, 1, 2, 3]), config)).not.toThrow();
    expect(() => checkLayers(layers("model.layers", [0, 2]), config)).toThrow(
      "config.json counts 4 layers (num_hidden_layers), but the files hold no weight of 2 of them: model.layers.1, model.layers.3.",
    );
    expect(() => checkLayers(layers("transformer.h", [1]), { n_layer: 2 })).toThrow("transformer.h.0");
  });

  it("are those of the text model, whatever stands beside it", () => {
    const config = { num_hidden_layers: 9, text_config: { num_hidden_layers: 2 } };
    const tower = layers("vision_tower.encoder.layers", [0, 1, 2, 3]);
    expect(() =>
      checkLayers([...tower, ...layers("language_model.model.layers", [0, 1])], config),
    ).not.toThrow();
    expect(() => checkLayers([...tower, ...layers("language_model.model.layers", [1])], config)).toThrow(
      "language_model.model.layers.0",
    );
  });

  it("may be more than it counts, such as one that predicts several tokens", () => {
    expect(() => checkLayers(layers("model.layers", [0, 1, 2]), { num_hidden_layers: 2 })).not.toThrow();
  });

  it("are whole in one list, whatever gaps a longer one has", () => {
    const before = layers("encoder.subsampling.layers", [0, 2, 3, 5, 6]);
    const config = { num_hidden_layers: 2 };
    expect(() => checkLayers([...before, ...layers("encoder.layers", [0, 1])], config)).not.toThrow();
    expect(() => checkLayers([...before, ...layers("encoder.layers", [0])], config)).toThrow(/2 layers/);
  });

  it("are as many as the least count says: LongCat has two caches for each", () => {
    const config = { num_hidden_layers: 4, num_layers: 2 };
    expect(() => checkLayers(layers("model.layers", [0, 1]), config)).not.toThrow();
    expect(() => checkLayers(layers("model.layers", [0]), config)).toThrow(/num_layers/);
  });

  it("are not checked where nothing is counted or nothing numbered", () => {
    expect(() => checkLayers(layers("model.layers", [1]), {})).not.toThrow();
    expect(() => checkLayers(["lm_head.weight"], { num_hidden_layers: 2 })).not.toThrow();
    expect(() => checkLayers(layers("model.layers", [0]), { num_hidden_layers: "2" })).not.toThrow();
  });
});
