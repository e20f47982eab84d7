// What planning a layer of experts costs: counted, since a plan of 48 layers with 128 experts each once took minutes.

import { expect, it } from "vitest";
import { rewritingModifiers } from "../../formats/recipe/recipe.ts";
import { type TensorSpec, tensorBytes } from "../../formats/safetensors/safetensors.ts";
import { parseRecipe } from "../../plan/recipe/parse-recipe.ts";
import { planSteps } from "../../plan/plan-steps.ts";
import { readConfig } from "../../plan/checkpoint/read-config.ts";
import { CALIBRATION_OPTIONS } from "../../testing/calibration-options.ts";
import { planCalibrationJob } from "./plan-calibrated-layers.ts";

const MIB = 1024 ** 2;
const SMALL = { hidden: 64, inner: 64, heads: 1, kvHeads: 1, head: 64, active: 2 };
/** Qwen3-30B-A3B's */
const LARGE = { hidden: 2048, inner: 768, heads: 32, kvHeads: 4, head: 128, active: 8 };

function mixture(experts: number, { hidden, inner, heads, kvHeads, head, active } = SMALL) {
  const config = {
    model_type: "qwen3_moe",
    hidden_size: hidden,
    intermediate_size: hidden,
    moe_intermediate_size: inner,
    num_hidden_layers: 1,
    num_attention_heads: heads,
    num_key_value_heads: kvHeads,
    head_dim: head,
    num_experts: experts,
    num_experts_per_tok: active,
    norm_topk_prob: true,
    decoder_sparse_step: 1,
    mlp_only_layers: [],
    hidden_act: "silu",
    max_position_embeddings: 64,
    rms_norm_eps: 1e-6,
    rope_theta: 10_000,
    vocab_size: SMALL.hidden,
    tie_word_embeddings: false,
  };
  const layer = "model.layers.0";
  const queries = heads * head;
  const keys = kvHeads * head;
  const shapes: [string, number[]][] = [
    ...["model.embed_tokens", "lm_head"].map((name): [string, number[]] => [name, [SMALL.hidden, hidden]]),
    [`${layer}.self_attn.q_proj`, [queries, hidden]],
    [`${layer}.self_attn.k_proj`, [keys, hidden]],
    [`${layer}.self_attn.v_proj`, [keys, hidden]],
    [`${layer}.self_attn.o_proj`, [hidden, queries]],
    ...Array.from({ length: experts }, (_, at) => `${layer}.mlp.experts.${at}`).flatMap(
      (expert): [string, number[]][] => [
        [`${expert}.gate_proj`, [inner, hidden]],
        [`${expert}.up_proj`, [inner, hidden]],
        [`${expert}.down_proj`, [hidden, inner]],
      ],
    ),
    ...["model.norm", `${layer}.input_layernorm`, `${layer}.post_attention_layernorm`].map(
      (name): [string, number[]] => [name, [hidden]],
    ),
    ...["q_norm", "k_norm"].map((name): [string, number[]] => [`${layer}.self_attn.${name}`, [head]]),
    [`${layer}.mlp.gate`, [experts, hidden]],
  ];
  let end = 0;
  const tensors = shapes.map(([name, shape]) => {
    const spec: TensorSpec = { name: `${name}.weight`, dtype: "BF16", shape };
    const start = end;
    end += tensorBytes(spec);
    return { ...spec, file: "model.safetensors", start, end };
  });
  return { config: readConfig(new TextEncoder().encode(JSON.stringify(config))), tensors };
}

/** How often a plan reads something of a Linear or of a tensor. */
function readsOf(modifiers: string, experts: number): number {
  let reads = 0;
  const counted = <Of extends object>(of: Of): Of =>
    new Proxy(of, {
      get(target, key, receiver): unknown {
        reads += 1;
        return Reflect.get(target, key, receiver);
      },
    });
  const { config, tensors } = mixture(experts);
  const recipe = parseRecipe(`s_stage: {q_modifiers: {${modifiers}}}`);
  const steps = planSteps(tensors, recipe).steps.map((step) => ({
    ...step,
    quantize: step.quantize.map(counted),
  }));
  const set = { sequences: [new Uint32Array(64)], tokens: 64, notes: [] };
  const { plan } = planCalibrationJob(
    { config, tensors: tensors.map(counted) },
    { steps, cache: null, rewriting: rewritingModifiers(recipe) },
    set,
    CALIBRATION_OPTIONS,
    { budgetBytes: 256 * MIB, maxBufferBytes: 128 * MIB },
  );
  expect(plan.layers).toHaveLength(1);
  return reads;
}

const GROUPS =
  "config_groups: {g: {targets: [Linear], weights: {num_bits: 4, type: int, strategy: group, group_size: 32}}}, ignore: [lm_head]";

it.each([
  ["AWQ", `AWQModifier: {}, QuantizationModifier: {${GROUPS}}`],
  ["AWQ by its block", `AWQModifier: {loss: block}, QuantizationModifier: {${GROUPS}}`],
  ["SmoothQuant and GPTQ", `SmoothQuantModifier: {}, GPTQModifier: {${GROUPS}}`],
])("reads no more of each expert where there are twice as many, for %s", (_, modifiers) => {
  const [few, many] = [readsOf(modifiers, 16), readsOf(modifiers, 32)];
  expect(few).toBeGreaterThan(1000);
  // What there is one of in a layer is read as often.
  expect(many).toBeLessThanOrEqual(2 * few);
});

it("keeps the weights of 128 experts on the GPU while factors are looked for, beside Strassen's products, in 4 GiB", () => {
  const { config, tensors } = mixture(128, LARGE);
  const recipe = parseRecipe(
    `s_stage: {q_modifiers: {AWQModifier: {}, QuantizationModifier: {${GROUPS.replace("32", "128")}}}}`,
  );
  const { plan, peakBytes } = planCalibrationJob(
    { config, tensors },
    { steps: planSteps(tensors, recipe).steps, cache: null, rewriting: rewritingModifiers(recipe) },
    { sequences: Array.from({ length: 16 }, () => new Uint32Array(2048)), tokens: 16 * 2048, notes: [] },
    CALIBRATION_OPTIONS,
    { budgetBytes: 4096 * MIB, maxBufferBytes: 2048 * MIB },
  );
  expect(plan.strassen).not.toBeNull();
  expect(plan.layers.map(({ staysRewriting }) => staysRewriting)).toEqual([true]);
  expect(peakBytes).toBeLessThanOrEqual(4096 * MIB);
});
