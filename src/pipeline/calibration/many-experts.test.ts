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
const HIDDEN = 64;

function mixture(experts: number) {
  const config = {
    model_type: "qwen3_moe",
    hidden_size: HIDDEN,
    intermediate_size: HIDDEN,
    moe_intermediate_size: HIDDEN,
    num_hidden_layers: 1,
    num_attention_heads: 1,
    num_key_value_heads: 1,
    head_dim: HIDDEN,
    num_experts: experts,
    num_experts_per_tok: 2,
    norm_topk_prob: true,
    decoder_sparse_step: 1,
    mlp_only_layers: [],
    hidden_act: "silu",
    max_position_embeddings: 64,
    rms_norm_eps: 1e-6,
    rope_theta: 10_000,
    vocab_size: HIDDEN,
    tie_word_embeddings: false,
  };
  const layer = "model.layers.0";
  const parts = (of: string, names: readonly string[]) => names.map((name) => `${of}.${name}_proj`);
  const square = [
    "model.embed_tokens",
    "lm_head",
    ...parts(`${layer}.self_attn`, ["q", "k", "v", "o"]),
    ...Array.from({ length: experts }, (_, at) => `${layer}.mlp.experts.${at}`).flatMap((of) =>
      parts(of, ["gate", "up", "down"]),
    ),
  ];
  const norms = ["model.norm", ...["input", "post_attention"].map((name) => `${layer}.${name}_layernorm`)];
  const heads = ["q_norm", "k_norm"].map((name) => `${layer}.self_attn.${name}`);
  const shapes: [string, number[]][] = [
    ...square.map((name): [string, number[]] => [name, [HIDDEN, HIDDEN]]),
    ...[...norms, ...heads].map((name): [string, number[]] => [name, [HIDDEN]]),
    [`${layer}.mlp.gate`, [experts, HIDDEN]],
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
