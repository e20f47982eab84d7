// What AWQ takes of a GPU budget, on the shapes of Llama 3 70B, of which no layer fits into 4 GiB with its Hessians.

import { describe, expect, it } from "vitest";
import type { CalibrationOptions } from "../../api/job-options.ts";
import { rewritingModifiers } from "../../formats/recipe.ts";
import { type TensorSpec, tensorBytes } from "../../formats/safetensors.ts";
import { parseRecipe } from "../../plan/parse-recipe.ts";
import { planSteps } from "../../plan/plan-steps.ts";
import { readConfig } from "../../plan/read-config.ts";
import { mappingNotes } from "./mapping-notes.ts";
import { planCalibrationJob } from "./plan-calibrated-layers.ts";

const GIB = 1024 ** 3;
const [HIDDEN, INNER, HEADS, KV_HEADS] = [8192, 28_672, 64, 8];
const CONFIG = {
  model_type: "llama",
  hidden_size: HIDDEN,
  intermediate_size: INNER,
  num_hidden_layers: 1,
  num_attention_heads: HEADS,
  num_key_value_heads: KV_HEADS,
  hidden_act: "silu",
  max_position_embeddings: 8192,
  rms_norm_eps: 1e-5,
  rope_theta: 500_000,
  vocab_size: 128,
  tie_word_embeddings: false,
};
const OPTIONS: CalibrationOptions = {
  source: { kind: "model" },
  num_calibration_samples: 256,
  max_seq_length: 2048,
  shuffle_calibration_samples: false,
  seed: 0,
  hidden_states_dtype: "F32",
  forward_products: "AUTO",
  propagate_error: true,
  moe_calibrate_all_experts: true,
  moe_min_tokens_per_expert: 64,
};

function tensors() {
  const layer = "model.layers.0";
  const kv = (HIDDEN / HEADS) * KV_HEADS;
  const shapes: [string, number[]][] = [
    ["model.embed_tokens.weight", [128, HIDDEN]],
    [`${layer}.self_attn.q_proj.weight`, [HIDDEN, HIDDEN]],
    [`${layer}.self_attn.k_proj.weight`, [kv, HIDDEN]],
    [`${layer}.self_attn.v_proj.weight`, [kv, HIDDEN]],
    [`${layer}.self_attn.o_proj.weight`, [HIDDEN, HIDDEN]],
    [`${layer}.mlp.gate_proj.weight`, [INNER, HIDDEN]],
    [`${layer}.mlp.up_proj.weight`, [INNER, HIDDEN]],
    [`${layer}.mlp.down_proj.weight`, [HIDDEN, INNER]],
    [`${layer}.input_layernorm.weight`, [HIDDEN]],
    [`${layer}.post_attention_layernorm.weight`, [HIDDEN]],
    ["model.norm.weight", [HIDDEN]],
    ["lm_head.weight", [128, HIDDEN]],
  ];
  let end = 0;
  return shapes.map(([name, shape]) => {
    const spec: TensorSpec = { name, dtype: "BF16", shape };
    const start = end;
    end += tensorBytes(spec);
    return { ...spec, file: "model.safetensors", start, end };
  });
}

function plan(awq: string, quantizer: string, budgetBytes = 4 * GIB) {
  const recipe = parseRecipe(
    `s_stage: {q_modifiers: {AWQModifier: {${awq}}, ${quantizer}: {scheme: W4A16, ignore: [lm_head]}}}`,
  );
  const { steps } = planSteps(tensors(), recipe);
  const model = { config: readConfig(new TextEncoder().encode(JSON.stringify(CONFIG))), tensors: tensors() };
  const sequences = Array.from({ length: 256 }, () => new Uint32Array(2048));
  const set = { sequences, tokens: 256 * 2048, notes: [] };
  const limits = { budgetBytes, maxBufferBytes: 128 * 1024 ** 2 };
  const rewriting = rewritingModifiers(recipe);
  return planCalibrationJob(model, { steps, cache: null, rewriting }, set, OPTIONS, limits);
}

describe("AWQ on a layer of 70B in a budget of 4 GiB", () => {
  it.each([
    ["", "QuantizationModifier"],
    ["", "GPTQModifier"],
    ["loss: block", "QuantizationModifier"],
  ])("fits, with {%s} before %s", (awq, quantizer) => {
    const { plan: fitted, peakBytes, layers } = plan(awq, quantizer);
    expect(peakBytes).toBeLessThanOrEqual(4 * GIB);
    const [schedule] = fitted.layers;
    const passes = schedule?.rewrites.flat() ?? [];
    const hessians = passes.flatMap(({ captures }) => captures.map(({ columns }) => columns));
    // Attention and MLP are run by themselves; what down reads has a Hessian.
    expect(hessians).toEqual(awq === "" ? [HIDDEN, HIDDEN, INNER] : [INNER]);
    expect(passes.some(({ runsBlocks }) => runsBlocks)).toBe(awq !== "");
    expect(layers[0]?.rewritings[0]?.mappings).toHaveLength(3);
  });

  it("says what it leaves out, and where it does not fit", () => {
    expect(mappingNotes(plan("", "QuantizationModifier").layers)).toEqual([
      expect.stringMatching(/inputs of 1 attention output projection as they are: a value head there/),
    ]);
    expect(() => plan("", "QuantizationModifier", GIB)).toThrow(/too small to calibrate/);
  });
});
