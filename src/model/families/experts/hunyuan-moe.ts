import * as v from "valibot";
import { expertCount, readFields } from "../../parts/config-fields.ts";
import { type DescribeFamily, gatedMlp } from "../../parts/decoder-parts.ts";
import { EXPERT_NAMES, experts } from "../../parts/expert-parts.ts";
import { hunyuanBody, hunyuanFields, hunyuanMlp } from "../dense/hunyuan-dense.ts";

/** One number, or one a layer. */
const perLayer = v.union([expertCount, v.pipe(v.array(expertCount), v.maxLength(1024))]);

const schema = v.object({
  ...hunyuanFields,
  num_experts: v.nullish(perLayer),
  /** Other names that transformers reads. */
  num_local_experts: v.optional(perLayer, 1),
  moe_topk: v.nullish(perLayer),
  num_experts_per_tok: v.optional(perLayer, 1),
});

/** transformers `modeling_hunyuan_v1_moe.py`: HunYuan with experts and one that sees every token. */
export const describeHunyuanMoe: DescribeFamily = (config, tensors) => {
  const sizes = readFields(schema, config);
  const shape = hunyuanMlp(sizes);
  return hunyuanBody(config, tensors, sizes, (layer, index) =>
    experts(tensors, {
      module: `${layer}.mlp`,
      names: EXPERT_NAMES,
      routerName: "gate.wg",
      count: valueOf(sizes.num_experts ?? sizes.num_local_experts, index),
      topK: valueOf(sizes.moe_topk ?? sizes.num_experts_per_tok, index),
      normalizeTopK: true,
      shape,
      shared: { mlp: gatedMlp(`${layer}.mlp.shared_mlp`, shape), gate: null },
    }),
  );
};

function valueOf(setting: number | readonly number[], layer: number): number {
  return typeof setting === "number" ? setting : (setting[layer] ?? 0);
}
