// A model of one small decoder layer, of experts or (with none of them) an MLP: its tensors, its plan, its weights on the host.

import type { CalibrationOptions } from "../../api/job-options.ts";
import { type FloatDtype, narrowFromFloat32 } from "../../formats/numbers/dtype.ts";
import type { QuantizerName } from "../../formats/modifiers/quantizers.ts";
import { kvCacheScheme, rewritingModifiers } from "../../formats/recipe/recipe.ts";
import { type TensorSpec, tensorBytes } from "../../formats/safetensors/safetensors.ts";
import { describedTensors } from "../../model/check-tensors.ts";
import { describeDecoder } from "../../model/describe-decoder.ts";
import { type HostLayer, memoryLayer } from "../../onload/host-layer.ts";
import {
  type CalibrationJob,
  planCalibrationJob,
} from "../../pipeline/calibration/plan-calibrated-layers.ts";
import { parseRecipe } from "../../plan/recipe/parse-recipe.ts";
import { planSteps } from "../../plan/plan-steps.ts";
import { readConfig } from "../../plan/checkpoint/read-config.ts";
import { CALIBRATION_OPTIONS } from "../calibration-options.ts";
import { randomNormal, seededRandom } from "../random.ts";

export const MIB = 1024 ** 2;
export const LENGTHS = [12, 8];
export const TOKENS = 20;
export const HIDDEN = 64;
const EXPERT = 32;
const INNER = 128;
const HEAD = 32;

const configOf = (experts: number) => ({
  model_type: experts > 0 ? "qwen3_moe" : "qwen3",
  hidden_size: HIDDEN,
  intermediate_size: INNER,
  ...(experts > 0 ? { moe_intermediate_size: EXPERT, num_experts: experts, num_experts_per_tok: 2 } : {}),
  num_hidden_layers: 1,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  head_dim: HEAD,
  hidden_act: "silu",
  max_position_embeddings: 64,
  rms_norm_eps: 1e-6,
  rope_theta: 10_000,
  vocab_size: 64,
  tie_word_embeddings: false,
});

const NARROW =
  "config_groups: {group_0: {targets: [Linear], weights: {num_bits: 4, type: int, symmetric: true, strategy: group, group_size: 32}}}";

/** Names and shapes of the checkpoint's tensors. */
export function checkpoint(count: number, dtype: FloatDtype = "BF16"): TensorSpec[] {
  const layer = "model.layers.0";
  const linear = (name: string, rows: number, columns: number): [string, number[]] => [
    `${layer}.${name}.weight`,
    [rows, columns],
  ];
  const experts = Array.from({ length: count }, (_, expert) => [
    linear(`mlp.experts.${expert}.gate_proj`, EXPERT, HIDDEN),
    linear(`mlp.experts.${expert}.up_proj`, EXPERT, HIDDEN),
    linear(`mlp.experts.${expert}.down_proj`, HIDDEN, EXPERT),
  ]).flat();
  const mlp = [
    linear("mlp.gate_proj", INNER, HIDDEN),
    linear("mlp.up_proj", INNER, HIDDEN),
    linear("mlp.down_proj", HIDDEN, INNER),
  ];
  const shapes: [string, number[]][] = [
    ["model.embed_tokens.weight", [64, HIDDEN]],
    linear("self_attn.q_proj", 2 * HEAD, HIDDEN),
    linear("self_attn.k_proj", HEAD, HIDDEN),
    linear("self_attn.v_proj", HEAD, HIDDEN),
    linear("self_attn.o_proj", HIDDEN, 2 * HEAD),
    ...(count > 0 ? [linear("mlp.gate", count, HIDDEN), ...experts] : mlp),
    ...["input_layernorm", "post_attention_layernorm"].map((name): [string, number[]] => [
      `${layer}.${name}.weight`,
      [HIDDEN],
    ]),
    ...["q_norm", "k_norm"].map((name): [string, number[]] => [`${layer}.self_attn.${name}.weight`, [HEAD]]),
    ["model.norm.weight", [HIDDEN]],
    ["lm_head.weight", [64, HIDDEN]],
  ];
  return shapes.map(([name, shape]) => ({ name, dtype, shape }));
}

interface LayerPlan {
  readonly experts: number;
  readonly budgetBytes: number;
  /** Arguments that say what is quantized to what. */
  readonly scheme?: string;
  /** Modifiers that stand before the one that quantizes, with a comma. */
  readonly before?: string;
  /** What quantizes; default GPTQ. */
  readonly quantizer?: QuantizerName;
  readonly dtype?: FloatDtype;
  /** True if the head is quantized, too. */
  readonly head?: boolean;
}

export function planFor(
  {
    experts,
    budgetBytes,
    scheme = NARROW,
    before = "",
    quantizer = "GPTQModifier",
    dtype = "BF16",
    head = false,
  }: LayerPlan,
  ignore: string,
  options: Partial<CalibrationOptions> = {},
): CalibrationJob {
  let end = 0;
  const tensors = checkpoint(experts, dtype).map((spec) => {
    const start = end;
    end += tensorBytes(spec);
    return { ...spec, file: "model.safetensors", start, end };
  });
  const recipe = parseRecipe(
    `s_stage: {q_modifiers: {${before}${quantizer}: {${scheme}, ignore: [${head ? "" : "lm_head, "}${ignore}]}}}`,
  );
  const model = { config: readConfig(new TextEncoder().encode(JSON.stringify(configOf(experts)))), tensors };
  const set = { sequences: LENGTHS.map((length) => new Uint32Array(length)), tokens: TOKENS, notes: [] };
  return planCalibrationJob(
    model,
    {
      steps: planSteps(tensors, recipe).steps,
      cache: kvCacheScheme(recipe),
      rewriting: rewritingModifiers(recipe),
    },
    set,
    {
      ...CALIBRATION_OPTIONS,
      num_calibration_samples: LENGTHS.length,
      moe_min_tokens_per_expert: 1,
      ...options,
    },
    { budgetBytes, maxBufferBytes: 128 * MIB },
  );
}

export function hostLayer(experts: number, dtype: FloatDtype = "BF16"): HostLayer {
  const random = seededRandom(7);
  const description = describeDecoder(
    configOf(experts),
    checkpoint(experts).map(({ name }) => name),
  );
  const tensors = [...describedTensors(description)].map(([name, shape]) => {
    const values = randomNormal(
      shape.reduce((product, size) => product * size, 1),
      random,
      shape.length === 1 ? 0.1 : 0.08,
    );
    if (shape.length === 1) values.forEach((value, index) => (values[index] = value + 1));
    const columns = shape[1] ?? 1;
    return [name, { dtype, columns, bytes: narrowFromFloat32(dtype, values) }] as const;
  });
  return memoryLayer(tensors);
}

export function only<Item>(items: readonly Item[]): Item {
  const [item] = items;
  if (item === undefined) throw new Error("one layer was planned");
  return item;
}
