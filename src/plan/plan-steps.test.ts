import { describe, expect, it } from "vitest";
import { tensorBytes } from "../formats/safetensors/safetensors.ts";
import { parseRecipe } from "./recipe/parse-recipe.ts";
import { planSteps } from "./plan-steps.ts";
import type { SourceTensor } from "./checkpoint/read-headers.ts";

/** A model of these tensors, one after the other in one file. */
function model(shapes: Readonly<Record<string, readonly number[]>>): SourceTensor[] {
  let start = 0;
  return Object.entries(shapes).map(([name, shape]) => {
    const dtype = "BF16";
    const end = start + tensorBytes({ name, dtype, shape });
    const tensor = { name, dtype, shape, start, end, file: "model.safetensors" } as const;
    start = end;
    return tensor;
  });
}

function planOf(
  shapes: Readonly<Record<string, readonly number[]>>,
  recipe: string,
  kvHeads: number | null = null,
) {
  const plan = planSteps(
    model(shapes),
    parseRecipe(`s_stage: {q_modifiers: {QuantizationModifier: {${recipe}}}}`),
    { kvHeads },
  );
  return {
    quantized: plan.steps.flatMap(({ quantize }) => quantize.map(({ module }) => module)),
    ignored: plan.ignored,
    measured: plan.steps.flatMap(({ measured }) =>
      measured.map(({ name, shape }) => `${name} ${shape.join("x")}`),
    ),
  };
}

const Q = "model.layers.0.self_attn.q_proj";
const K = "model.layers.0.self_attn.k_proj";

describe("the target Linear", () => {
  it("leaves embeddings, routers, norms and convolutions as they are", () => {
    const shapes = {
      "model.embed_tokens.weight": [256, 128],
      [`${Q}.weight`]: [128, 128],
      "model.layers.0.mlp.gate.weight": [8, 128],
      "model.layers.0.input_layernorm.weight": [128],
      "model.layers.0.conv1d.weight": [128, 128],
      "lm_head.weight": [256, 128],
    };
    const plan = planOf(shapes, "scheme: W4A16, ignore: [lm_head]");
    expect(plan.quantized).toEqual([Q]);
    // What a name says is a guess, and an entry too many in ignore does no harm.
    expect(plan.ignored).toEqual([
      "model.embed_tokens",
      "model.layers.0.mlp.gate",
      "model.layers.0.conv1d",
      "lm_head",
    ]);
  });

  it.each([
    [0, 128],
    [128, 0],
  ])("leaves a Linear of %i rows and %i columns, which loaders make all the same", (...shape) => {
    const shapes = { [`${Q}.weight`]: [128, 128], [`${K}.weight`]: shape };
    expect(planOf(shapes, "scheme: W8A8")).toMatchObject({ quantized: [Q], ignored: [K] });
  });

  it.each([
    "model.visual.blocks.0.attn.qkv",
    "vision_tower.layers.0.fc1",
    "model.audio_tower.layers.0.fc2",
    "model.connector.modality_projection.proj",
  ])("leaves %s, of another tower, unless a pattern names it", (tower) => {
    const shapes = { [`${Q}.weight`]: [128, 128], [`${tower}.weight`]: [128, 128] };
    expect(planOf(shapes, "scheme: W4A16")).toMatchObject({ quantized: [Q], ignored: [tower] });
    const named = planOf(shapes, `scheme: W4A16, targets: ["re:.*"]`);
    expect(named).toMatchObject({ quantized: expect.arrayContaining([Q, tower]), ignored: [] });
  });
});

it("a model without Linears is refused for that, and not for its targets", () => {
  const shapes = { "decoder.conv1.weight": [64, 64, 3], "model.embed_tokens.weight": [64, 64] };
  expect(() => planOf(shapes, "scheme: W8A8")).toThrow(/it has no Linears/);
});

describe("a model that is all tower", () => {
  const shapes = { "vision_encoder.layers.0.mlp.lin1.weight": [64, 64] };

  it("is refused with the target that means it, and quantized by that", () => {
    expect(() => planOf(shapes, "scheme: W8A8")).toThrow(/\(vision_encoder\).*"re:\.\*vision_encoder\.\*"/);
    const named = planOf(shapes, 'scheme: W8A8, targets: ["re:.*vision_encoder.*"]');
    expect(named.quantized).toEqual(["vision_encoder.layers.0.mlp.lin1"]);
  });
});

const CACHE = "kv_cache_scheme: {num_bits: 8, type: float, dynamic: false, strategy: ";

describe("a quantized key-value cache", () => {
  const shapes = { [`${Q}.weight`]: [128, 128], [`${K}.weight`]: [64, 128] };

  it("has its scales in the attention module", () => {
    expect(planOf(shapes, `scheme: FP8_DYNAMIC, ${CACHE} tensor}`).measured).toEqual([
      "model.layers.0.self_attn.k_scale 1",
      "model.layers.0.self_attn.v_scale 1",
    ]);
    expect(planOf(shapes, "scheme: FP8_DYNAMIC").measured).toEqual([]);
  });

  it("can be all that a recipe asks for, where there is attention", () => {
    expect(planOf(shapes, `${CACHE} tensor}`)).toMatchObject({ quantized: [], measured: { length: 2 } });
    expect(() => planOf({ [`${Q}.weight`]: [128, 128] }, `${CACHE} tensor}`)).toThrow(
      /quantizes the key-value cache alone, but no attention with a k_proj/,
    );
  });

  it("has a scale a head if the recipe says attn_head, and config.json how many heads there are", () => {
    expect(planOf(shapes, `${CACHE} attn_head}`, 2).measured).toEqual([
      "model.layers.0.self_attn.k_scale 2x1x1",
      "model.layers.0.self_attn.v_scale 2x1x1",
    ]);
    expect(() => planOf(shapes, `${CACHE} attn_head}`)).toThrow(/num_key_value_heads/);
  });

  it("is that of the language model alone", () => {
    const towers = { ...shapes, "vision_tower.layers.0.self_attn.k_proj.weight": [64, 64] };
    expect(planOf(towers, `${CACHE} tensor}`).measured).toHaveLength(2);
  });
});

describe("the preset UNQUANTIZED", () => {
  it("leaves every Linear as it is, where other recipes that find none are refused", () => {
    const shapes = { [`${Q}.weight`]: [128, 128] };
    expect(planOf(shapes, "scheme: UNQUANTIZED")).toMatchObject({ quantized: [], ignored: [Q] });
    expect(() => planOf(shapes, "scheme: W4A16, ignore: [Linear]")).toThrow(
      /quantizes nothing in this model/,
    );
  });
});

it("a recipe that finds weights in 8-bit floats alone says so", () => {
  const tensors = model({ [`${Q}.weight`]: [128, 128] }).map((tensor) => ({
    ...tensor,
    dtype: "F8_E4M3" as const,
  }));
  const recipe = parseRecipe("s_stage: {q_modifiers: {QuantizationModifier: {scheme: W4A16}}}");
  expect(() => planSteps(tensors, recipe, { kvHeads: null })).toThrow(
    /1 of its weights \(model\.layers\..*q_proj, …\) are neither BF16, F16 nor F32, and no quantization_config says/,
  );
});

describe("modules that share NVFP4's global scale", () => {
  it("are q and k alone where keys are the values, too, and no query without keys", () => {
    const alone = "model.layers.1.self_attn.q_proj";
    const tensors = model(Object.fromEntries([Q, K, alone].map((name) => [`${name}.weight`, [128, 128]])));
    const recipe = parseRecipe("s_stage: {q_modifiers: {QuantizationModifier: {scheme: NVFP4A16}}}");
    const tasks = planSteps(tensors, recipe).steps.flatMap(({ quantize }) => quantize);
    expect(Object.fromEntries(tasks.map(({ module, fusedWith }) => [module, fusedWith]))).toEqual({
      [Q]: Q,
      [K]: Q,
      [alone]: null,
    });
  });

  it("must belong to one modifier", () => {
    const names = [Q, K, "model.layers.0.self_attn.v_proj"];
    const tensors = model(Object.fromEntries(names.map((name) => [`${name}.weight`, [128, 128]])));
    const plan = (queries: string) =>
      planSteps(
        tensors,
        parseRecipe(
          `s_stage: {a_modifiers: {GPTQModifier: {scheme: NVFP4A16}}, b_modifiers: {${queries}: {scheme: NVFP4A16, targets: ["re:.*q_proj"]}}}`,
        ),
      );
    expect(plan("GPTQModifier").steps).toHaveLength(1);
    expect(() => plan("QuantizationModifier")).toThrow(
      /q_proj belongs to QuantizationModifier and .*k_proj to GPTQModifier, but NVFP4 gives them one global scale/,
    );
  });
});
