import { readdirSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { type Checkpoint, loadCheckpoint } from "../testing/fixtures/load-checkpoint.ts";
import { checkShapes, describedTensors } from "./check-tensors.ts";
import { type Config, isRecord } from "./parts/config-fields.ts";
import { describeDecoder, lackedTensors } from "./describe-decoder.ts";
import { captures, layerLinears, linearsBeforeOutput } from "./layer-linears.ts";

const ARCHITECTURES = readdirSync("e2e/fixtures/architectures");

/** The same config as transformers 4 wrote it. */
function asV4({ rope_parameters, dtype, ...rest }: Config): Config {
  const parts = isRecord(rope_parameters) ? rope_parameters : {};
  const { full_attention: full, sliding_attention: windowed } = parts;
  if (isRecord(full) && isRecord(windowed)) {
    const bases = { rope_theta: full["rope_theta"], rope_local_base_freq: windowed["rope_theta"] };
    return { ...rest, ...bases, torch_dtype: dtype, rope_scaling: null };
  }
  const { rope_theta, partial_rotary_factor, ...scaling } = parts;
  const partial = partial_rotary_factor === undefined ? {} : { partial_rotary_factor };
  const rope_scaling = scaling["rope_type"] === "default" ? null : scaling;
  return { ...rest, ...partial, rope_theta, torch_dtype: dtype, rope_scaling };
}

describe.each(ARCHITECTURES)("%s", (name) => {
  const { config, tensors, names } = loadCheckpoint(name);

  it("is described to the last tensor", () => {
    const description = describeDecoder(config, names);
    checkShapes(description, tensors);
    expect([...describedTensors(description).keys()].toSorted()).toEqual(names.toSorted());
  });

  it("lacks nothing, and what is taken away of it and another layer has", () => {
    expect(lackedTensors(config, names)).toEqual([]);
    // Without what tells forms of one family apart it may as well be of another form.
    const telling = /embed|\.experts\.|input_linear|in_proj_qkvz|sink/;
    const starred = (each: string) => each.replaceAll(/\.\d+\./g, ".*.");
    for (const lost of names.filter((each) => !telling.test(each) && !each.includes(".0."))) {
      const rest = names.filter((each) => each !== lost);
      const isKnown = lost.endsWith("lm_head.weight") || rest.map(starred).includes(starred(lost));
      expect(lackedTensors(config, rest)).toEqual(isKnown ? [lost] : []);
    }
  });

  it("reads the same from the v4 form of its config.json", () => {
    expect(describeDecoder(asV4(config), names)).toEqual(describeDecoder(config, names));
  });

  it("captures the input of every Linear but routers and gates, once", () => {
    for (const layer of describeDecoder(config, names).layers) {
      for (const calibration of ["all", "routed"] as const) {
        const captured = captures(layer, calibration).flatMap(({ modules }) => modules);
        const linears = layerLinears(layer).map(({ module }) => module);
        expect(captured.toSorted()).toEqual(
          linears
            .filter((module) => !/\.(gate|router|router\.proj)$|shared_expert_gate$/.test(module))
            .toSorted(),
        );
      }
    }
  });
});

describe("a model without an output head", () => {
  const { config, names } = loadCheckpoint("llama");
  const headless = names.filter((name) => name !== "lm_head.weight");

  it("lacks it where config.json unties it from the embedding, and the architecture has one", () => {
    const untied = { ...config, tie_word_embeddings: false };
    expect(lackedTensors(untied, headless)).toEqual(["lm_head.weight"]);
    expect(lackedTensors({ ...untied, tie_word_embeddings: true }, headless)).toEqual([]);
    for (const architectures of [["LlamaModel"], ["LlamaForSequenceClassification"], "", undefined])
      expect(lackedTensors({ ...untied, architectures }, headless)).toEqual([]);
  });
});

describe("captures", () => {
  it("are shared by modules that see one input", () => {
    const { config, names } = loadCheckpoint("llama");
    const [layer] = describeDecoder(config, names).layers;
    const name = "model.layers.0";
    expect(layer && captures(layer)).toEqual([
      {
        modules: [`${name}.self_attn.q_proj`, `${name}.self_attn.k_proj`, `${name}.self_attn.v_proj`],
        columns: 64,
      },
      { modules: [`${name}.self_attn.o_proj`], columns: 64 },
      { modules: [`${name}.mlp.gate_proj`, `${name}.mlp.up_proj`], columns: 64 },
      { modules: [`${name}.mlp.down_proj`], columns: 128 },
    ]);
  });
});

describe("a layer of one block", () => {
  const { config, names } = loadCheckpoint("llama");
  const [layer] = describeDecoder(config, names).layers;

  it.each([
    ["mixers", ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"], "self_attn.o_proj"],
    ["feedForward", ["mlp.gate_proj", "mlp.up_proj"], "mlp.down_proj"],
  ] as const)("has that block's Linears alone: %s", (block, inputs, output) => {
    if (!layer) throw new Error("The fixture has no layer");
    const alone = { ...layer, mixers: [], feedForward: null, [block]: layer[block] };
    const local = (module: string) => module.replace("model.layers.0.", "");
    expect(captures(alone).map(({ modules }) => modules.map(local))).toEqual([inputs, [output]]);
    expect(layerLinears(alone).map(({ module }) => local(module))).toEqual([...inputs, output]);
    expect(linearsBeforeOutput(alone).map(({ module }) => local(module))).toEqual(inputs);
  });
});

/** Tensor names and config as a multimodal model around the same decoder has them. */
function nested(prefix: string, head: string): Checkpoint {
  const { config, tensors } = loadCheckpoint("llama-bias");
  const renamed = tensors.map((tensor) => ({
    ...tensor,
    name: tensor.name.replace(/^model\./, prefix).replace(/^lm_head/, head),
  }));
  const names = [...renamed.map((tensor) => tensor.name), "vision_tower.encoder.layers.0.mlp.fc1.weight"];
  const { tie_word_embeddings, ...text } = config;
  return {
    config: { model_type: "llava", text_config: text, vision_config: {}, tie_word_embeddings },
    tensors: renamed,
    names,
  };
}

describe("multimodal models", () => {
  it.each([
    ["model.language_model.", "lm_head"],
    ["language_model.model.", "language_model.lm_head"],
  ])("are described by their text decoder, under %s", (prefix, head) => {
    const { config, tensors, names } = nested(prefix, head);
    const description = describeDecoder(config, names);
    checkShapes(description, tensors);
    expect(description.family).toBe("llama");
    expect(description.layers[1]?.name).toBe(`${prefix}layers.1`);
    expect(description.head.linear.source.tensor).toBe(`${head}.weight`);
    expect([...describedTensors(description).keys()].some((name) => name.startsWith("vision"))).toBe(false);
  });

  it("take what text_config leaves out from transformers' defaults", () => {
    const { names } = loadCheckpoint("gemma3");
    const config = { model_type: "gemma3", text_config: { model_type: "gemma3_text", num_hidden_layers: 3 } };
    const [first, , third] = describeDecoder(config, names).layers;
    expect(first?.mixers).toMatchObject([{ heads: 8, kvHeads: 4, headDim: 256, slidingWindow: 4096 }]);
    expect(third?.mixers).toMatchObject([{ rotary: { theta: 10_000 } }]);
  });

  it.each([
    ["gemma3", null],
    ["gemma4", 30],
  ])("cap logits where transformers' %s does", (type, softCap) => {
    const { config, names } = loadCheckpoint(type);
    const text = { ...config, final_logit_softcapping: 30 };
    expect(describeDecoder({ model_type: type, text_config: text }, names).head.softCap).toBe(softCap);
    expect(describeDecoder(text, names).head.softCap).toBe(30);
  });

  it("may keep the text decoder's fields at the top, as Qwen2-VL does", () => {
    const { config, names } = loadCheckpoint("qwen2");
    const flat = {
      ...asV4(config),
      model_type: "qwen2_vl",
      rope_scaling: { type: "mrope", mrope_section: [2, 3, 3] },
    };
    const { layers } = describeDecoder(config, names);
    const { rope_theta: _, ...unsaid } = flat as Record<string, unknown>;
    expect(describeDecoder(unsaid, names).layers[0]?.mixers).toMatchObject([
      { rotary: { theta: 1_000_000 } },
    ]);
    expect(describeDecoder(flat, [...names, "visual.blocks.0.attn.qkv.weight"]).layers).toEqual(layers);
  });
});

describe("stacked experts", () => {
  /** The checkpoint with each layer's experts in two tensors. */
  function stacked(): Checkpoint {
    const { config, tensors } = loadCheckpoint("qwen3-moe");
    const kept = tensors.filter(({ name }) => !name.includes(".experts."));
    const extra = [0, 1].flatMap((layer) => [
      { name: `model.layers.${layer}.mlp.experts.gate_up_proj`, shape: [4, 64, 64] },
      { name: `model.layers.${layer}.mlp.experts.down_proj`, shape: [4, 64, 32] },
    ]);
    const all = [
      ...kept,
      ...extra.map((tensor) => ({
        dtype: "BF16" as const,
        file: "model.safetensors",
        start: 0,
        end: 0,
        ...tensor,
      })),
    ];
    return { config, tensors: all, names: all.map(({ name }) => name) };
  }

  it("are rows of two tensors, named like separate ones", () => {
    const { config, tensors, names } = stacked();
    const description = describeDecoder(config, names);
    checkShapes(description, tensors);
    const linears = layerLinears(description.layers[1] ?? description.layers[0] ?? never());
    const expert = linears.filter(({ module }) => module.includes("experts.2."));
    expect(expert.map(({ module, rows, source }) => [module, rows, source.firstRow])).toEqual([
      ["model.layers.1.mlp.experts.2.gate_proj", 32, 128],
      ["model.layers.1.mlp.experts.2.up_proj", 32, 160],
      ["model.layers.1.mlp.experts.2.down_proj", 64, 128],
    ]);
  });

  it("are refused where they lie transposed", () => {
    const { config, tensors, names } = stacked();
    const description = describeDecoder(config, names);
    const transposed = tensors.map((tensor) =>
      tensor.name.endsWith("down_proj") && tensor.shape.length === 3
        ? { ...tensor, shape: [4, 32, 64] }
        : tensor,
    );
    expect(() => checkShapes(description, transposed)).toThrow("holds its experts transposed");
  });
});

function never(): never {
  throw new Error("unreachable");
}

describe("values of published models", () => {
  it.each([
    ["deepseek-v3", { normalizeTopK: true, scale: 2.5 }, ["norm_topk_prob", "routed_scaling_factor"]],
    ["mimo-v2", { normalizeTopK: true }, ["norm_topk_prob"]],
    ["dots1", { groups: null }, ["n_group", "topk_group"]],
  ])("are the configuration class's where config.json is silent (%s)", (name, expected, fields) => {
    const { config, names } = loadCheckpoint(name);
    const rest = Object.fromEntries(Object.entries(config).filter(([field]) => !fields.includes(field)));
    const mixtures = describeDecoder(rest, names).layers.map(({ feedForward }) => feedForward);
    expect(mixtures.find((block) => block?.kind === "experts")).toMatchObject(expected);
  });

  it("rotate Gemma 4's heads as by default where the part of them is null", () => {
    const { config, names } = loadCheckpoint("gemma4");
    const { rope_parameters: _, ...rest } = config;
    expect(describeDecoder({ ...rest, rope_parameters: null }, names)).toEqual(describeDecoder(rest, names));
  });

  it("multiply Gemma's embeddings by the root of their size as float32 has it", () => {
    const { config, names } = loadCheckpoint("gemma2");
    const { embedding } = describeDecoder({ ...config, hidden_size: 3072 }, names);
    expect(embedding.multiplier).toBe(Math.fround(Math.sqrt(3072)));
  });

  it("take a head that is in the files for its own, whatever the config says", () => {
    const { config, names } = loadCheckpoint("gemma2");
    const { head } = describeDecoder(config, [...names, "lm_head.weight"]);
    expect(head).toMatchObject({ tied: false, linear: { source: { tensor: "lm_head.weight" } } });
  });

  it("add a head's bias where its weight is the embedding's, too", () => {
    const { config, names } = loadCheckpoint("phimoe");
    const fields = { ...config, tie_word_embeddings: true, lm_head_bias: true };
    const stored = [...names, "lm_head.bias"].filter((name) => name !== "lm_head.weight");
    const { linear } = describeDecoder(fields, stored).head;
    expect(linear).toMatchObject({ bias: "lm_head.bias", source: { tensor: "model.embed_tokens.weight" } });
  });

  it("scale Granite's logits down, and give StableLM's parallel blocks one norm", () => {
    const granite = loadCheckpoint("granite");
    expect(describeDecoder(granite.config, granite.names).head.scale).toBe(0.25);
    const { config, names } = loadCheckpoint("stablelm");
    const kept = names.filter((name) => !name.includes("post_attention_layernorm"));
    const [layer] = describeDecoder({ ...config, use_parallel_residual: true }, kept).layers;
    expect(layer).toMatchObject({ parallel: true, norms: { feedForwardInput: null } });
  });

  it("make some layers of a mixture dense where config.json says so", () => {
    const { config, names } = loadCheckpoint("qwen3-moe");
    const dense = ["gate_proj", "up_proj", "down_proj"].map((part) => `model.layers.0.mlp.${part}.weight`);
    const kept = [...names.filter((name) => !/layers\.0\.mlp\./.test(name)), ...dense];
    const { layers } = describeDecoder({ ...config, mlp_only_layers: [0] }, kept);
    expect(layers.map(({ feedForward }) => feedForward?.kind)).toEqual(["mlp", "experts"]);
  });
});
