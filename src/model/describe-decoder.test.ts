import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parseHeader, parseHeaderLength, type TensorEntry } from "../formats/safetensors.ts";
import { checkShapes, describedTensors } from "./check-tensors.ts";
import { type Config, isRecord } from "./config-fields.ts";
import { describeDecoder, lackedTensors, unreadTensors } from "./describe-decoder.ts";
import { captures, layerLinears, linearsBeforeOutput } from "./layer-linears.ts";

const FOLDER = "e2e/fixtures/architectures";
const ARCHITECTURES = readdirSync(FOLDER);

interface Checkpoint {
  readonly config: Config;
  readonly tensors: readonly TensorEntry[];
  readonly names: readonly string[];
}

function load(name: string): Checkpoint {
  const file = readFileSync(join(FOLDER, name, "model.safetensors"));
  const length = parseHeaderLength(name, file, file.byteLength);
  const tensors = parseHeader(name, file.subarray(8, 8 + length), file.byteLength);
  const config = JSON.parse(readFileSync(join(FOLDER, name, "config.json"), "utf8"));
  return { config, tensors, names: tensors.map((tensor) => tensor.name) };
}

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

describe("a kilobyte of config.json", () => {
  const sizes = { hidden_size: 64, intermediate_size: 64, vocab_size: 64, num_attention_heads: 8 };
  const bomb = { model_type: "mixtral", num_hidden_layers: 1024, num_local_experts: 4096, ...sizes };

  it("describes no experts that the files do not name", () => {
    expect(() => describeDecoder(bomb, ["model.embed_tokens.weight"])).toThrow(
      'lacks the tensor "model.layers.0.block_sparse_moe.experts.0.w1.weight"',
    );
  });

  it("describes no more experts in stacked tensors than any model has", () => {
    const stacked = Array.from(
      { length: 1024 },
      (_, layer) => `model.layers.${layer}.block_sparse_moe.experts.gate_up_proj`,
    );
    expect(() => describeDecoder(bomb, ["model.embed_tokens.weight", ...stacked])).toThrow(
      "more than 65536 experts in 1024 layers",
    );
  });
});

describe.each(ARCHITECTURES)("%s", (name) => {
  const { config, tensors, names } = load(name);

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
  const { config, names } = load("llama");
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
    const { config, names } = load("llama");
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
  const { config, names } = load("llama");
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
  const { config, tensors } = load("llama-bias");
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
    const { names } = load("gemma3");
    const config = { model_type: "gemma3", text_config: { model_type: "gemma3_text", num_hidden_layers: 3 } };
    const [first, , third] = describeDecoder(config, names).layers;
    expect(first?.mixers).toMatchObject([{ heads: 8, kvHeads: 4, headDim: 256, slidingWindow: 4096 }]);
    expect(third?.mixers).toMatchObject([{ rotary: { theta: 10_000 } }]);
  });

  it.each([
    ["gemma3", null],
    ["gemma4", 30],
  ])("cap logits where transformers' %s does", (type, softCap) => {
    const { config, names } = load(type);
    const text = { ...config, final_logit_softcapping: 30 };
    expect(describeDecoder({ model_type: type, text_config: text }, names).head.softCap).toBe(softCap);
    expect(describeDecoder(text, names).head.softCap).toBe(30);
  });

  it("may keep the text decoder's fields at the top, as Qwen2-VL does", () => {
    const { config, names } = load("qwen2");
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
    const { config, tensors } = load("qwen3-moe");
    const kept = tensors.filter(({ name }) => !name.includes(".experts."));
    const extra = [0, 1].flatMap((layer) => [
      { name: `model.layers.${layer}.mlp.experts.gate_up_proj`, shape: [4, 64, 64] },
      { name: `model.layers.${layer}.mlp.experts.down_proj`, shape: [4, 64, 32] },
    ]);
    const all = [
      ...kept,
      ...extra.map((tensor) => ({ dtype: "BF16" as const, start: 0, end: 0, ...tensor })),
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

describe("what is not understood is named", () => {
  const { config, tensors, names } = load("llama");
  const change = (fields: Record<string, unknown>) => () => describeDecoder({ ...config, ...fields }, names);

  it.each([
    ["the model type", { model_type: "mamba" }, 'models of type "mamba"'],
    ["the lack of a model type", { model_type: undefined }, 'no "model_type"'],
    ["an activation", { hidden_act: "xielu" }, '"hidden_act" is "xielu"'],
    ["a rotary scaling", { rope_parameters: { rope_type: "spiral" } }, '"rope_type" is "spiral"'],
    [
      "attention to later tokens",
      { use_bidirectional_attention: true },
      '"use_bidirectional_attention" is true',
    ],
    ["attention that is not causal", { is_causal: false }, '"is_causal" is false'],
    ["windows in a family without", { layer_types: ["sliding_attention"] }, '"layer_types" is'],
    ["another kind of layer", { layer_types: ["chunked_attention"] }, "chunked_attention"],
  ])("%s", (_what, fields, message) => {
    expect(change(fields)).toThrow(message);
    expect(change(fields)).toThrow("Recipes without calibration");
    expect(change(fields)).toThrow(expect.objectContaining({ name: "UnsupportedModelError" }));
  });

  it.each([
    ["qwen2-moe", { use_sliding_window: false, layer_types: ["sliding_attention", "full_attention"] }],
    ["qwen3", { use_sliding_window: true, sliding_window: 0, max_window_layers: 0, layer_types: null }],
    ["gemma2", { sliding_window: null }],
    ["mistral-sliding", { sliding_window: 0 }],
  ])("windows of no tokens (%s)", (name, fields) => {
    const { config: own, names: all } = load(name);
    expect(() => describeDecoder({ ...own, ...fields }, all)).toThrow('"sliding_window" is');
  });

  it("a limit of gpt-oss's experts that transformers does not compute with", () => {
    const { config: own, names: all } = load("gpt-oss");
    expect(() => describeDecoder({ ...own, swiglu_limit: 8 }, all)).toThrow('"swiglu_limit" is 8');
  });

  it.each([
    ["no number", { hidden_size: "64" }, '"hidden_size" is "64"'],
    ["a negative size", { hidden_size: -64 }, '"hidden_size" is -64'],
    ["a size that could overflow", { intermediate_size: 2 ** 40 }, "intermediate_size"],
    ["too many layers", { num_hidden_layers: 1e9 }, "num_hidden_layers"],
    ["heads that do not divide", { num_key_value_heads: 3 }, "not a multiple of num_key_value_heads 3"],
    ["a fraction of a head", { head_dim: null, num_attention_heads: 5, num_key_value_heads: 5 }, "12.8"],
    ["an infinite base", { rope_parameters: { rope_theta: 1e300 } }, "rope_theta"],
  ])("%s is malformed", (_what, fields, message) => {
    expect(change(fields)).toThrow(message);
    expect(change(fields)).toThrow(expect.objectContaining({ name: "MalformedModelError" }));
  });

  it("a tensor that is missing, or that nothing describes", () => {
    const without = names.filter((name) => name !== "model.layers.1.mlp.up_proj.weight");
    expect(() => describeDecoder(config, without)).toThrow(
      'lacks the tensor "model.layers.1.mlp.up_proj.weight"',
    );
    const more = [...names, "model.layers.0.self_attn.q_norm.weight"];
    expect(() => describeDecoder(config, more)).toThrow(
      'The tensor "model.layers.0.self_attn.q_norm.weight" does not belong',
    );
    expect(() => describeDecoder(config, ["wte.weight"])).toThrow('no tensor "model.embed_tokens.weight"');
  });

  it("a tensor whose shape config.json contradicts", () => {
    const description = describeDecoder({ ...config, vocab_size: 300 }, names);
    expect(() => checkShapes(description, tensors)).toThrow(
      '"model.embed_tokens.weight" has the shape [256, 64]',
    );
  });

  it("but not keys and values of Gemma 4's layers that take those of an earlier one", () => {
    const { config: own, names: all } = load("gemma4");
    const shared = [3, 4].flatMap((layer) =>
      ["k_proj", "v_proj", "k_norm"].map((name) => `model.layers.${layer}.self_attn.${name}.weight`),
    );
    const files = [...all, ...shared];
    expect(describeDecoder(own, files)).toEqual(describeDecoder(own, all));
    expect([...unreadTensors(own, files)]).toEqual(shared);
    expect([...unreadTensors({ ...own, num_kv_shared_layers: 0 }, files)]).toEqual([]);
  });

  it("but not old tables and other models' layers", () => {
    const more = [...names, "model.layers.0.self_attn.rotary_emb.inv_freq", "model.layers.7.mtp.weight"];
    expect(describeDecoder(config, more)).toEqual(describeDecoder(config, names));
  });
});

describe("values of published models", () => {
  it.each([
    ["deepseek-v3", { normalizeTopK: true, scale: 2.5 }, ["norm_topk_prob", "routed_scaling_factor"]],
    ["mimo-v2", { normalizeTopK: true }, ["norm_topk_prob"]],
    ["dots1", { groups: null }, ["n_group", "topk_group"]],
  ])("are the configuration class's where config.json is silent (%s)", (name, expected, fields) => {
    const { config, names } = load(name);
    const rest = Object.fromEntries(Object.entries(config).filter(([field]) => !fields.includes(field)));
    const mixtures = describeDecoder(rest, names).layers.map(({ feedForward }) => feedForward);
    expect(mixtures.find((block) => block?.kind === "experts")).toMatchObject(expected);
  });

  it("rotate Gemma 4's heads as by default where the part of them is null", () => {
    const { config, names } = load("gemma4");
    const { rope_parameters: _, ...rest } = config;
    expect(describeDecoder({ ...rest, rope_parameters: null }, names)).toEqual(describeDecoder(rest, names));
  });

  it("multiply Gemma's embeddings by the root of their size as float32 has it", () => {
    const { config, names } = load("gemma2");
    const { embedding } = describeDecoder({ ...config, hidden_size: 3072 }, names);
    expect(embedding.multiplier).toBe(Math.fround(Math.sqrt(3072)));
  });

  it("take a head that is in the files for its own, whatever the config says", () => {
    const { config, names } = load("gemma2");
    const { head } = describeDecoder(config, [...names, "lm_head.weight"]);
    expect(head).toMatchObject({ tied: false, linear: { source: { tensor: "lm_head.weight" } } });
  });

  it("add a head's bias where its weight is the embedding's, too", () => {
    const { config, names } = load("phimoe");
    const fields = { ...config, tie_word_embeddings: true, lm_head_bias: true };
    const stored = [...names, "lm_head.bias"].filter((name) => name !== "lm_head.weight");
    const { linear } = describeDecoder(fields, stored).head;
    expect(linear).toMatchObject({ bias: "lm_head.bias", source: { tensor: "model.embed_tokens.weight" } });
  });

  it("scale Granite's logits down, and give StableLM's parallel blocks one norm", () => {
    const granite = load("granite");
    expect(describeDecoder(granite.config, granite.names).head.scale).toBe(0.25);
    const { config, names } = load("stablelm");
    const kept = names.filter((name) => !name.includes("post_attention_layernorm"));
    const [layer] = describeDecoder({ ...config, use_parallel_residual: true }, kept).layers;
    expect(layer).toMatchObject({ parallel: true, norms: { feedForwardInput: null } });
  });

  it("make some layers of a mixture dense where config.json says so", () => {
    const { config, names } = load("qwen3-moe");
    const dense = ["gate_proj", "up_proj", "down_proj"].map((part) => `model.layers.0.mlp.${part}.weight`);
    const kept = [...names.filter((name) => !/layers\.0\.mlp\./.test(name)), ...dense];
    const { layers } = describeDecoder({ ...config, mlp_only_layers: [0] }, kept);
    expect(layers.map(({ feedForward }) => feedForward?.kind)).toEqual(["mlp", "experts"]);
  });
});
