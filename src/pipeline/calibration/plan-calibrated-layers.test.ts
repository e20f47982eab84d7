import { describe, expect, it } from "vitest";
import { tensorBytes } from "../../formats/safetensors/safetensors.ts";
import { parseRecipe } from "../../plan/recipe/parse-recipe.ts";
import { planSteps } from "../../plan/plan-steps.ts";
import { type ModelConfig, readConfig } from "../../plan/checkpoint/read-config.ts";
import type { SourceTensor } from "../../plan/checkpoint/read-headers.ts";
import { splitExperts } from "../../plan/checkpoint/split-experts.ts";
import { type Checkpoint, loadCheckpoint as load } from "../../testing/fixtures/load-checkpoint.ts";
import { linearClasses } from "../../model/linear-classes.ts";
import { planCalibrationJob } from "./plan-calibrated-layers.ts";
import { calibrationNote } from "../inspect/describe-model.ts";
import type { CalibrationOptions } from "../../api/job-options.ts";
import { CALIBRATION_OPTIONS } from "../../testing/calibration-options.ts";

const MIB = 1024 ** 2;
const FILE = "model.safetensors";

function configOf(config: Record<string, unknown>): ModelConfig {
  return readConfig(new TextEncoder().encode(JSON.stringify(config)));
}

function plan(
  { config, tensors }: Pick<Checkpoint, "config" | "tensors">,
  options: Partial<CalibrationOptions> = {},
  text = "",
) {
  const recipe = parseRecipe(
    `s_stage: {q_modifiers: {GPTQModifier: {${text || "scheme: W4A16"}, ignore: [lm_head]}}}`,
  );
  const { steps, ignored } = planSteps(tensors, recipe);
  const model = { config: configOf(config), tensors };
  const sequences = [0, 1].map(() => new Uint32Array(64));
  const set = { sequences, tokens: 128, notes: [] };
  const limits = { budgetBytes: 64 * MIB, maxBufferBytes: 128 * MIB };
  const job = planCalibrationJob(
    model,
    { steps, cache: null },
    set,
    { ...CALIBRATION_OPTIONS, ...options },
    limits,
  );
  return { job, steps, ignored };
}

/** Groups of 32: the fixtures are narrow. */
const NARROW =
  "config_groups: {group_0: {targets: [Linear], weights: {num_bits: 4, type: int, symmetric: true, strategy: group, group_size: 32}}}";

describe("inspection says of a model that calibration does not understand", () => {
  const { config, tensors } = load("llama");
  const noteOf = (fields: Record<string, unknown>, seen: readonly SourceTensor[] = tensors) =>
    calibrationNote({ config: configOf({ ...config, ...fields }), tensors: seen });

  it.each([
    ["the type", { model_type: "mamba" }, 'models of type "mamba"'],
    ["a field", { hidden_act: "xielu" }, '"hidden_act" is "xielu"'],
    ["a shape", { vocab_size: 300 }, '"model.embed_tokens.weight" has the shape [256, 64]'],
  ])("%s", (_, fields, message) => {
    expect(noteOf(fields)).toContain(message);
  });

  it("a tensor, and that data-free recipes work", () => {
    const more = tensors.map((tensor) => ({ ...tensor, name: tensor.name.replace("q_proj", "qq_proj") }));
    expect(noteOf({}, more)).toMatch(/q_proj\.weight".*Recipes without calibration.*still work/);
  });

  it("and nothing of those that it does", () => {
    expect(noteOf({})).toBeNull();
  });
});

describe("experts that see their own tokens alone", () => {
  it("are asked for in vain of a model that has none", () => {
    const routed = () => plan(load("llama"), { moe_calibrate_all_experts: false }, NARROW);
    expect(routed).toThrow(/no experts.*--routed-experts-only.*leave it out/);
  });
});

/** Two GPTQ modifiers over the attention of the llama fixture, one for queries, one for keys and values. */
function planMixed(queries: { weights: string; more?: string }, others: { weights: string; more?: string }) {
  const { config, tensors } = load("llama");
  const modifier = (targets: string, { weights, more = "" }: { weights: string; more?: string }) =>
    `{GPTQModifier: {${more} config_groups: {group_0: {targets: ["${targets}"], weights: {type: int, ${weights}}}}}}`;
  const recipe = parseRecipe(
    `s_stage: {a_modifiers: ${modifier("re:.*q_proj", queries)}, b_modifiers: ${modifier("re:.*[kv]_proj", others)}}`,
  );
  const { steps } = planSteps(tensors, recipe);
  const model = { config: configOf(config), tensors };
  const set = { sequences: [0, 1].map(() => new Uint32Array(64)), tokens: 128, notes: [] };
  const limits = { budgetBytes: 64 * MIB, maxBufferBytes: 128 * MIB };
  return { steps, job: planCalibrationJob(model, { steps, cache: null }, set, CALIBRATION_OPTIONS, limits) };
}

describe("the observer imatrix_mse", () => {
  const planWeighed = (modifier: string, ignore: string, name = "mistral-sliding") => {
    const { config, tensors } = load(name);
    const weights = "{num_bits: 4, type: int, strategy: group, group_size: 32, observer: imatrix_mse}";
    const recipe = parseRecipe(
      `s_stage: {q_modifiers: {${modifier}: {config_groups: {g: {targets: [Linear], weights: ${weights}}}, ignore: [${ignore}]}}}`,
    );
    const { steps } = planSteps(tensors, recipe, { classes: linearClasses(config) });
    const model = { config: configOf(config), tensors };
    const set = { sequences: [0, 1].map(() => new Uint32Array(64)), tokens: 128, notes: [] };
    const limits = { budgetBytes: 64 * MIB, maxBufferBytes: 128 * MIB };
    return planCalibrationJob(model, { steps, cache: null }, set, CALIBRATION_OPTIONS, limits);
  };

  it("has squares collected for what is rounded to nearest, and takes them from the Hessian for GPTQ", () => {
    const rounded = planWeighed("QuantizationModifier", "lm_head").layers[0];
    expect(rounded?.captures).toEqual([]);
    expect(rounded?.weighed.map(({ modules }) => modules.length)).toEqual([3, 1, 2, 1]);
    const byGptq = planWeighed("GPTQModifier", "lm_head").layers[0];
    expect(byGptq?.weighed).toEqual([]);
    expect(byGptq?.captures.length).toBe(4);
  });

  it("is refused for a Linear that no calibration comes by", () => {
    expect(() => planWeighed("QuantizationModifier", "", "gpt-neox")).toThrow(
      /embed_out is to have its ranges by imatrix_mse, but only inputs of Linears inside of decoder layers/,
    );
  });

  it("weighs a head by its input, too", () => {
    const { layers } = planWeighed("QuantizationModifier", "");
    expect(layers.at(-1)).toMatchObject({ linears: [], weighed: [{ modules: ["lm_head"], columns: 64 }] });
  });
});

describe("modules of one input in several groups", () => {
  it("may differ in bits, strategy and kind of actorder, and only groups by activation store g_idx", () => {
    const { steps, job } = planMixed(
      { weights: "num_bits: 4, strategy: group, group_size: 32, actorder: group" },
      { weights: "num_bits: 8, strategy: channel, actorder: static" },
    );
    expect(job.layers[0]?.captures.map(({ modules }) => modules)).toEqual([
      ["q", "k", "v"].map((part) => `model.layers.0.self_attn.${part}_proj`),
    ]);
    const tasks = steps
      .flatMap(({ quantize }) => quantize)
      .filter(({ module }) => /layers\.0\./.test(module));
    const outputs = tasks.map(({ module, format, weights, outputs: stored }) => {
      const parts = stored.map(({ name }) => name.slice(module.length + 1)).toSorted();
      return `${module.slice(-6)} ${weights.num_bits} ${weights.actorder} ${format}: ${parts.join(" ")}`;
    });
    expect(outputs.toSorted()).toEqual([
      "k_proj 8 static pack-quantized: weight_packed weight_scale weight_shape",
      "q_proj 4 group pack-quantized: weight_g_idx weight_packed weight_scale weight_shape",
      "v_proj 8 static pack-quantized: weight_packed weight_scale weight_shape",
    ]);
  });

  it("must all have an actorder, or none of them", () => {
    const weights = "num_bits: 4, strategy: group, group_size: 32";
    expect(() => planMixed({ weights, more: "actorder: null," }, { weights })).toThrow(
      /k_proj has the actorder static, but .*q_proj has none: they see the same input/,
    );
  });
});

describe("a checkpoint that lies", () => {
  it("about a shape fails with the tensor's name before anything is computed", () => {
    const { config, tensors } = load("llama");
    expect(() => plan({ config: { ...config, vocab_size: 300 }, tensors }, {}, NARROW)).toThrow(
      'The tensor "model.embed_tokens.weight" has the shape [256, 64], but config.json makes it [300, 64].',
    );
  });

  const stacked = (gateUp: number[], down: number[], more: readonly string[] = []) => {
    const { config, tensors } = load("qwen3-moe");
    const fused = [0, 1].flatMap((layer) => {
      const shapes = [
        ["gate_up_proj", gateUp],
        ["down_proj", down],
        ...more.map((name) => [name, [4, 128]] as const),
      ] as const;
      return shapes.map(([name, shape]) => {
        const tensor = { name: `model.layers.${layer}.mlp.experts.${name}`, dtype: "BF16" as const, shape };
        return { ...tensor, start: 0, end: tensorBytes(tensor), file: FILE };
      });
    });
    const kept = tensors.filter(({ name }) => !name.includes(".experts."));
    const all = splitExperts([...kept, ...fused]).tensors;
    return plan({ config: { ...config, moe_intermediate_size: 64 }, tensors: all }, {}, NARROW);
  };

  it("about the layout of its experts is refused", () => {
    expect(() => stacked([4, 64, 128], [4, 64, 64], ["gate_up_proj_bias"])).toThrow(
      'gate_up_proj_bias" does not belong to a model of type qwen3_moe',
    );
  });

  it("calibrates experts that are stored with inputs before outputs", () => {
    const [layer] = stacked([4, 64, 128], [4, 64, 64]).job.layers;
    const up = layer?.linears.find(({ module }) => module === "model.layers.0.mlp.experts.2.up_proj");
    expect(up).toMatchObject({ rows: 64, columns: 64 });
  });
});

/** The checkpoint as the text decoder of a multimodal model, with a tower whose layers are named as usual. */
function nested(prefix: string, head: string): Pick<Checkpoint, "config" | "tensors"> {
  const { config, tensors } = load("qwen3");
  const { tie_word_embeddings, ...text_config } = config;
  const tower = ["vision_tower.encoder.layers.0.mlp.fc1", "multi_modal_projector.linear_1"].map((module) => ({
    name: `${module}.weight`,
    dtype: "BF16" as const,
    shape: [64, 64],
    start: 0,
    end: 8192,
    file: FILE,
  }));
  const renamed = tensors.map((tensor) => ({
    ...tensor,
    name: tensor.name.replace(/^model\./, prefix).replace(/^lm_head/, head),
  }));
  return {
    config: { model_type: "llava", text_config, vision_config: {}, tie_word_embeddings },
    tensors: [...renamed, ...tower],
  };
}

describe("a multimodal model", () => {
  it.each([
    ["model.language_model.", "lm_head"],
    ["language_model.model.", "language_model.lm_head"],
  ])("under %s has its text decoder calibrated and its towers copied", (prefix, head) => {
    const { job, steps } = plan(nested(prefix, head), {}, NARROW);
    const calibrated = job.layers.map(({ tasks }) => tasks.map(({ module }) => module));
    expect(calibrated.map((modules) => modules.length)).toEqual([7, 7]);
    expect(calibrated.flat().every((module) => module.startsWith(`${prefix}layers.`))).toBe(true);
    const quantized = steps.flatMap(({ quantize }) => quantize.map(({ module }) => module));
    expect(quantized.toSorted()).toEqual(calibrated.flat().toSorted());
    const copied = steps.flatMap(({ copy }) => copy.map(({ name }) => name));
    expect(copied).toEqual(
      expect.arrayContaining([
        `${head}.weight`,
        "vision_tower.encoder.layers.0.mlp.fc1.weight",
        "multi_modal_projector.linear_1.weight",
      ]),
    );
  });
});

describe("a mixture of experts", () => {
  const moe = load("qwen2-moe");

  it("never has its router or the gate of its shared expert quantized", () => {
    const { job, ignored } = plan(moe, {}, NARROW);
    const gates = [0, 1].flatMap((layer) =>
      ["gate", "shared_expert_gate"].map((gate) => `model.layers.${layer}.mlp.${gate}`),
    );
    expect(ignored).toEqual(expect.arrayContaining(gates));
    const touched = job.layers.flatMap(({ tasks, captures }) => [
      ...tasks.map(({ module }) => module),
      ...captures.flatMap(({ modules }) => modules),
    ]);
    expect(touched.filter((module) => module.endsWith("gate"))).toEqual([]);
  });

  it("shares one Hessian for the inputs of experts that see all tokens, and has one each for those that do not", () => {
    const inputs = (options: Partial<CalibrationOptions>) =>
      plan(moe, options, NARROW).job.layers[0]?.captures.filter(({ modules }) =>
        modules[0]?.endsWith("gate_proj"),
      ).length;
    expect(inputs({ moe_calibrate_all_experts: true })).toBe(1);
    expect(inputs({ moe_calibrate_all_experts: false })).toBe(5);
  });

  it("needs all experts calibrated where input scales are measured", () => {
    const text = "scheme: FP8";
    expect(() => plan(moe, { moe_calibrate_all_experts: false }, text)).toThrow("moe_calibrate_all_experts");
    expect(plan(moe, {}, text).job.layers[0]?.scales.length).toBeGreaterThan(0);
  });
});
