import * as v from "valibot";
import {
  type Config,
  count,
  epsilon,
  expertCount,
  flag,
  layerTypes,
  readFields,
  sizeFields,
} from "../../parts/config-fields.ts";
import type { Experts, Mlp } from "../../decoder-description.ts";
import {
  attention,
  type DecoderTensors,
  type DescribeFamily,
  headShape,
  layers,
  linear,
  type MlpShape,
  mlpWith,
  preNorms,
  rmsNorm,
} from "../../parts/decoder-parts.ts";
import { EXPERT_NAMES, experts } from "../../parts/expert-parts.ts";
import { resolveLayerTypes, windowOf } from "../../parts/layer-types.ts";
import { readRotary } from "../../parts/rotary-parameters.ts";
import type { Linear } from "../../weight-description.ts";

/** What transformers computes with, whatever config.json says. */
const SWIGLU = { kind: "clamped-swiglu", alpha: 1.702, limit: 7 } as const;

/** transformers' default where config.json has neither `rope_parameters` nor `rope_scaling`. */
const DEFAULT_ROPE = {
  rope_type: "yarn",
  factor: 32,
  beta_fast: 32,
  beta_slow: 1,
  truncate: false,
  original_max_position_embeddings: 4096,
};

const schema = v.object({
  ...sizeFields({
    vocab_size: 201_088,
    hidden_size: 2880,
    intermediate_size: 2880,
    num_hidden_layers: 36,
    num_attention_heads: 64,
    num_key_value_heads: 8,
    head_dim: 64,
    max_position_embeddings: 131_072,
  }),
  rms_norm_eps: v.optional(epsilon, 1e-5),
  attention_bias: v.optional(flag, true),
  num_local_experts: v.optional(expertCount, 128),
  num_experts_per_tok: v.optional(expertCount, 4),
  sliding_window: v.optional(v.nullable(count()), 128),
  layer_types: v.nullish(layerTypes),
  // Files on the hub say it; transformers has no other.
  swiglu_limit: v.nullish(v.literal(SWIGLU.limit)),
  tie_word_embeddings: v.optional(flag, false),
});

/** transformers `modeling_gpt_oss.py`: sinks, every other layer windowed, biased experts whose gates and ups are clamped. */
export const describeGptOss: DescribeFamily = (config, tensors) => {
  const sizes = readFields(schema, config);
  const { hidden_size: hiddenSize, attention_bias: bias } = sizes;
  const shape = headShape(sizes);
  const rotary = readRotary(withRope(config), {
    headDim: shape.headDim,
    maxPositions: sizes.max_position_embeddings,
    defaultTheta: 150_000,
  });
  const types = resolveLayerTypes(sizes.layer_types, sizes.num_hidden_layers, (index) =>
    index % 2 === 0 ? "sliding_attention" : "full_attention",
  );
  const norm = (module: string) => rmsNorm(module, hiddenSize, sizes.rms_norm_eps);
  return {
    sizes,
    tied: sizes.tie_word_embeddings,
    finalNorm: norm(`${tensors.prefix}norm`),
    layers: layers(tensors, sizes, (layer, index) => ({
      norms: preNorms(layer, norm),
      mixers: [
        attention(`${layer}.self_attn`, {
          ...shape,
          hiddenSize,
          rotary,
          bias,
          outputBias: bias,
          slidingWindow: windowOf(types[index], sizes.sliding_window),
          sinks: `${layer}.self_attn.sinks`,
        }),
      ],
      feedForward: mixture(tensors, `${layer}.mlp`, sizes),
    })),
  };
};

function withRope(config: Config): Config {
  if (config["rope_scaling"] || config["rope_parameters"]) return config;
  return { ...config, rope_scaling: DEFAULT_ROPE };
}

/** The softmax over the chosen logits is the softmax over all, divided by what the chosen ones have of it. */
function mixture(tensors: DecoderTensors, module: string, sizes: v.InferOutput<typeof schema>): Experts {
  const { hidden_size: hiddenSize, intermediate_size: intermediateSize, num_local_experts: all } = sizes;
  const shape: MlpShape = { hiddenSize, intermediateSize, activation: SWIGLU, bias: true };
  return experts(tensors, {
    module,
    names: EXPERT_NAMES,
    routerName: "router",
    routerBias: true,
    count: all,
    topK: sizes.num_experts_per_tok,
    normalizeTopK: true,
    shape,
    stackedExpert: (index) => stackedExpert(`${module}.experts`, index, all, shape),
  });
}

/** gate_up_proj (experts, hidden, 2 · intermediate), whose last dimension is gate, up, gate, up, …; down_proj (experts, intermediate, hidden). */
function stackedExpert(module: string, index: number, all: number, shape: MlpShape): Mlp {
  const { hiddenSize, intermediateSize: inner } = shape;
  const part = (name: string, tensor: string, place: { firstColumn: number; step: number }): Linear => {
    const isDown = tensor === "down_proj";
    const [rows, columns] = isDown ? [hiddenSize, inner] : [inner, hiddenSize];
    const width = rows * place.step;
    return {
      ...linear(`${module}.${index}.${name}`, rows, columns),
      source: {
        tensor: `${module}.${tensor}`,
        shape: [all, columns, width],
        firstRow: index * columns,
        turned: place,
      },
      bias: `${module}.${tensor}_bias`,
      biasPlace: { shape: [all, width], first: index * width + place.firstColumn, step: place.step },
    };
  };
  const gate = part("gate_proj", "gate_up_proj", { firstColumn: 0, step: 2 });
  const up = part("up_proj", "gate_up_proj", { firstColumn: 1, step: 2 });
  return mlpWith(
    { kind: "gated", gate, up },
    part("down_proj", "down_proj", { firstColumn: 0, step: 1 }),
    shape,
  );
}
