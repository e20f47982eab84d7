import * as v from "valibot";
import { type Config, count, isRecord, readFields } from "../../parts/config-fields.ts";
import { type DescribeFamily, headShape } from "../../parts/decoder-parts.ts";
import { resolveLayerTypes, windowOf } from "../../parts/layer-types.ts";
import { readRotary } from "../../parts/rotary-parameters.ts";
import { olmoBody, olmoFields } from "./olmo2.ts";

const schema = v.object({ ...olmoFields, sliding_window: v.optional(v.nullable(count()), 4096) });

/** transformers `modeling_olmo3.py`: OLMo 2 with windows in most layers, and a scaled rotation in the others. */
export const describeOlmo3: DescribeFamily = (config, tensors) => {
  const sizes = readFields(schema, config);
  const rotaries = readRotaries(config, headShape(sizes).headDim, sizes.max_position_embeddings);
  const types = resolveLayerTypes(sizes.layer_types, sizes.num_hidden_layers, (index) =>
    (index + 1) % 4 === 0 ? "full_attention" : "sliding_attention",
  );
  return olmoBody(tensors, sizes, (index) => ({
    rotary: rotaries[types[index] ?? "full_attention"],
    slidingWindow: windowOf(types[index], sizes.sliding_window),
  }));
};

/** v4 has one part, whose scaling is for layers that see all; v5 has a part for each type. */
function readRotaries(config: Config, headDim: number, maxPositions: number) {
  const request = { headDim, maxPositions, defaultTheta: 500_000 };
  const parts = isRecord(config["rope_parameters"]) ? config["rope_parameters"] : {};
  const windowed = {
    rope_theta: config["rope_theta"],
    rope_parameters: { sliding_attention: parts["sliding_attention"] ?? {} },
  };
  return {
    full_attention: readRotary(config, request),
    sliding_attention: readRotary(windowed, { ...request, layerType: "sliding_attention" }),
  };
}
