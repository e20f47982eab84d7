// Small models that are whole: configuration and tensors that fit each other. What is altered starts from here, so that
// some of it gets as far as a plan.

/** Name, dtype and shape of a tensor. */
export type ModelTensor = readonly [string, string, readonly number[]];

export interface SmallModel {
  readonly config: Readonly<Record<string, unknown>>;
  readonly tensors: readonly ModelTensor[];
}

const HIDDEN = 16;
const INNER = 32;
const EXPERTS = 4;
const LAYERS = 2;

const CONFIG = {
  architectures: ["LlamaForCausalLM"], hidden_size: HIDDEN, intermediate_size: INNER, num_hidden_layers: LAYERS,
  num_attention_heads: 4, num_key_value_heads: 2, head_dim: 4, vocab_size: 64, num_local_experts: EXPERTS,
  num_experts_per_tok: 2, max_position_embeddings: 128, rope_theta: 10_000, rope_scaling: null, sliding_window: null,
  tie_word_embeddings: false, rms_norm_eps: 1e-6, torch_dtype: "bfloat16",
}; // prettier-ignore

const weights = {
  num_bits: 4, type: "int", symmetric: true, strategy: "group", group_size: 16, dynamic: false, actorder: null,
}; // prettier-ignore

export const QUANTIZATION = {
  quant_method: "compressed-tensors",
  format: "pack-quantized",
  config_groups: { group_0: { targets: ["Linear"], weights } },
  ignore: ["lm_head", "re:.*gate$"],
};

type FeedForward = "mlp" | "experts" | "stacked";

function linears(feedForward: FeedForward, layer: string): [string, number, number][] {
  const attention: [string, number, number][] = [
    [`${layer}.self_attn.q_proj`, 16, HIDDEN],
    [`${layer}.self_attn.k_proj`, 8, HIDDEN],
    [`${layer}.self_attn.v_proj`, 8, HIDDEN],
    [`${layer}.self_attn.o_proj`, HIDDEN, 16],
  ];
  if (feedForward === "stacked") return attention;
  const [prefixes, [gate, up, down]] =
    feedForward === "mlp"
      ? [[`${layer}.mlp`], ["gate_proj", "up_proj", "down_proj"]]
      : [
          Array.from({ length: EXPERTS }, (_, index) => `${layer}.block_sparse_moe.experts.${index}`),
          ["w1", "w3", "w2"],
        ];
  const own = prefixes.flatMap((prefix): [string, number, number][] => [
    [`${prefix}.${gate}`, INNER, HIDDEN],
    [`${prefix}.${up}`, INNER, HIDDEN],
    [`${prefix}.${down}`, HIDDEN, INNER],
  ]);
  return [...attention, ...own];
}

function packed([name, rows, columns]: readonly [string, number, number]): ModelTensor[] {
  return [
    [`${name}.weight_packed`, "I32", [rows, columns / 8]],
    [`${name}.weight_scale`, "BF16", [rows, columns / 16]],
    [`${name}.weight_shape`, "I64", [2]],
  ];
}

function layerTensors(feedForward: FeedForward, quantized: boolean, layer: string): ModelTensor[] {
  const own = linears(feedForward, layer).flatMap((each): ModelTensor[] =>
    quantized ? packed(each) : [[`${each[0]}.weight`, "BF16", [each[1], each[2]]]],
  );
  const block = `${layer}.block_sparse_moe`;
  const router: ModelTensor[] =
    feedForward === "mlp" ? [] : [[`${block}.gate.weight`, "BF16", [EXPERTS, HIDDEN]]];
  const stacked: ModelTensor[] =
    feedForward === "stacked"
      ? [
          [`${block}.experts.gate_up_proj`, "BF16", [EXPERTS, 2 * INNER, HIDDEN]],
          [`${block}.experts.down_proj`, "BF16", [EXPERTS, HIDDEN, INNER]],
        ]
      : [];
  return [
    [`${layer}.input_layernorm.weight`, "BF16", [HIDDEN]],
    [`${layer}.post_attention_layernorm.weight`, "BF16", [HIDDEN]],
    ...own,
    ...router,
    ...stacked,
  ];
}

function smallModel(feedForward: FeedForward, quantized: boolean): SmallModel {
  const layers = Array.from({ length: LAYERS }, (_, index) =>
    layerTensors(feedForward, quantized, `model.layers.${index}`),
  );
  return {
    config: {
      model_type: feedForward === "mlp" ? "llama" : "mixtral",
      ...CONFIG,
      ...(quantized ? { quantization_config: QUANTIZATION } : {}),
    },
    tensors: [
      ["model.embed_tokens.weight", "BF16", [64, HIDDEN]],
      ...layers.flat(),
      ["model.norm.weight", "BF16", [HIDDEN]],
      ["lm_head.weight", "BF16", [64, HIDDEN]],
    ],
  };
}

export const SMALL_MODELS: readonly SmallModel[] = [
  smallModel("mlp", false),
  smallModel("mlp", true),
  smallModel("experts", false),
  smallModel("experts", true),
  smallModel("stacked", false),
];
