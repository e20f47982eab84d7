import * as v from "valibot";
import { activation, expertCount, readFields } from "../../parts/config-fields.ts";
import type { DecoderTensors, DescribeFamily } from "../../parts/decoder-parts.ts";
import { EXPERT_NAMES, experts } from "../../parts/expert-parts.ts";
import type { Activation, Experts } from "../../decoder-description.ts";
import { graniteAttention, graniteBody, graniteFields, graniteRotary } from "../dense/granite.ts";

const schema = v.object({
  ...graniteFields,
  hidden_act: v.optional(activation, "silu"),
  num_local_experts: v.optional(expertCount, 8),
  num_experts_per_tok: v.optional(expertCount, 2),
});

/** transformers `modeling_granitemoe.py`: Granite with experts, whose weights are a softmax over the chosen ones. */
export const describeGraniteMoe: DescribeFamily = (config, tensors) => {
  const sizes = readFields(schema, config);
  const rotary = graniteRotary(config, sizes);
  return graniteBody(tensors, sizes, (layer) => ({
    mixer: graniteAttention(layer, sizes, rotary),
    feedForward: graniteExperts(tensors, `${layer}.block_sparse_moe`, sizes),
  }));
};

export interface GraniteExpertSettings {
  readonly hidden_size: number;
  readonly intermediate_size: number;
  readonly hidden_act: Activation;
  readonly num_local_experts: number;
  readonly num_experts_per_tok: number;
}

/** Experts under the names of Granite's models. */
export function graniteExperts(
  tensors: DecoderTensors,
  module: string,
  settings: GraniteExpertSettings,
): Experts {
  return experts(tensors, {
    module,
    names: EXPERT_NAMES,
    stacked: { gateUp: "input_linear.weight", down: "output_linear.weight" },
    routerName: "router.layer",
    count: settings.num_local_experts,
    topK: settings.num_experts_per_tok,
    normalizeTopK: true,
    shape: {
      hiddenSize: settings.hidden_size,
      intermediateSize: settings.intermediate_size,
      activation: settings.hidden_act,
    },
  });
}
