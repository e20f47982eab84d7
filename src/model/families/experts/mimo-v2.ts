import * as v from "valibot";
import {
  activation,
  aligned,
  type Config,
  epsilon,
  finite,
  flag,
  intermediateSize,
  isRecord,
  layerTypes,
  positions,
  readFields,
  sizeFields,
} from "../../parts/config-fields.ts";
import {
  attention,
  type DecoderTensors,
  type DescribeFamily,
  gatedMlp,
  headShape,
  layers,
  preNorms,
  rmsNorm,
} from "../../parts/decoder-parts.ts";
import { groupedRouterFields, sigmoidExperts } from "../../parts/expert-parts.ts";
import { resolveLayerTypes } from "../../parts/layer-types.ts";
import { readRotary } from "../../parts/rotary-parameters.ts";

/** transformers' default: not the root of a half. */
const DEFAULT_VALUE_SCALE = 707 / 1000;

const schema = v.object({
  ...sizeFields({
    vocab_size: 152_576,
    hidden_size: 4096,
    intermediate_size: 16_384,
    num_hidden_layers: 48,
    num_attention_heads: 64,
    num_key_value_heads: 4,
    head_dim: 192,
    max_position_embeddings: 131_072,
  }),
  hidden_act: v.optional(activation, "silu"),
  rms_norm_eps: v.optional(epsilon, 1e-5),
  attention_bias: v.optional(flag, false),
  ...groupedRouterFields({
    experts: 256,
    shared: null,
    topK: 8,
    groups: 1,
    keptGroups: 1,
    normalizeTopK: true,
    scale: 1,
  }),
  moe_intermediate_size: v.optional(intermediateSize, 2048),
  v_head_dim: v.optional(aligned(1024), 128),
  sliding_window: v.optional(positions, 128),
  layer_types: v.nullish(layerTypes),
  mlp_layer_types: v.nullish(v.pipe(v.array(v.picklist(["dense", "sparse"])), v.maxLength(1024))),
  attention_value_scale: v.optional(v.nullable(finite), DEFAULT_VALUE_SCALE),
  tie_word_embeddings: v.optional(flag, false),
});

/** transformers `modeling_mimo_v2_flash.py`: windowed layers with sinks and more key heads, values of another width, DeepSeek-V3's router. */
export const describeMimoV2: DescribeFamily = (config, tensors) => {
  const sizes = readFields(schema, config);
  const { hidden_size: hiddenSize, attention_bias: bias } = sizes;
  const shape = headShape(sizes);
  const rotaries = readRotaries(config, shape.headDim, sizes.max_position_embeddings);
  const types = resolveLayerTypes(sizes.layer_types, sizes.num_hidden_layers, (index) =>
    index === 0 || (index + 1) % 6 === 0 ? "full_attention" : "sliding_attention",
  );
  const mlp = { hiddenSize, activation: sizes.hidden_act };
  const isDense = (index: number) =>
    sizes.mlp_layer_types ? sizes.mlp_layer_types[index] === "dense" : index === 0;
  const norm = (module: string) => rmsNorm(module, hiddenSize, sizes.rms_norm_eps);
  return {
    sizes,
    tied: sizes.tie_word_embeddings,
    finalNorm: norm(`${tensors.prefix}norm`),
    layers: layers(tensors, sizes, (layer, index) => {
      const type = types[index] ?? "full_attention";
      const isWindowed = type === "sliding_attention";
      return {
        norms: preNorms(layer, norm),
        mixers: [
          attention(`${layer}.self_attn`, {
            ...shape,
            kvHeads: isWindowed ? 2 * shape.kvHeads : shape.kvHeads,
            valueDim: sizes.v_head_dim,
            hiddenSize,
            rotary: rotaries[type],
            bias,
            slidingWindow: isWindowed ? sizes.sliding_window : null,
            sinks: isWindowed ? sinksName(tensors, `${layer}.self_attn`) : null,
            valueScale: sizes.attention_value_scale ?? 1,
          }),
        ],
        feedForward: isDense(index)
          ? gatedMlp(`${layer}.mlp`, { ...mlp, intermediateSize: sizes.intermediate_size })
          : sigmoidExperts(tensors, `${layer}.mlp`, sizes, {
              ...mlp,
              intermediateSize: sizes.moe_intermediate_size,
            }),
      };
    }),
  };
};

/** What transformers calls it, or files on the hub. */
function sinksName(tensors: DecoderTensors, module: string): string {
  const name = `${module}.attention_sink_bias`;
  return tensors.has(name) ? name : `${module}.sinks`;
}

function readRotaries(config: Config, headDim: number, maxPositions: number) {
  const request = { headDim, maxPositions, partial: true, defaultPartial: 0.334 };
  const parts = isRecord(config["rope_parameters"]) ? config["rope_parameters"] : {};
  const windowed = { rope_parameters: { sliding_attention: parts["sliding_attention"] ?? {} } };
  return {
    full_attention: readRotary(config, { ...request, defaultTheta: 5_000_000 }),
    sliding_attention: readRotary(windowed, {
      ...request,
      defaultTheta: 10_000,
      layerType: "sliding_attention",
    }),
  };
}
