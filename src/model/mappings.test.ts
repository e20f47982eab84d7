import { describe, expect, it } from "vitest";
import { loadCheckpoint } from "../testing/fixtures/load-checkpoint.ts";
import { describeDecoder } from "./describe-decoder.ts";
import { layerMappings } from "./mappings.ts";

/** "smooth -> balance, …" of a fixture's first layer, without what stands before the layer's own names. */
function mappingsOf(name: string): string[] {
  const { config, tensors } = loadCheckpoint(name);
  const [layer] = describeDecoder(
    config,
    tensors.map((tensor) => tensor.name),
  ).layers;
  if (!layer) return [];
  const short = (module: string) => module.slice(layer.name.length + 1).replace(/self_attn\.|mlp\./, "");
  return layerMappings(layer).map(
    ({ smooth, balance }) => `${short(smooth)} -> ${balance.map(({ module }) => short(module)).join(", ")}`,
  );
}

describe("the mappings of a layer", () => {
  it.each([
    [
      "llama",
      [
        "input_layernorm -> q_proj, k_proj, v_proj",
        "post_attention_layernorm -> gate_proj, up_proj",
        "up_proj -> down_proj",
      ],
    ],
    // Four norms: those before the blocks are read by Linears.
    [
      "gemma2",
      [
        "input_layernorm -> q_proj, k_proj, v_proj",
        "pre_feedforward_layernorm -> gate_proj, up_proj",
        "up_proj -> down_proj",
      ],
    ],
    // Experts that lie turned over take no factors, and a clamp is not linear.
    ["gpt-oss", ["input_layernorm -> q_proj, k_proj, v_proj"]],
    // Norms after the blocks alone: nothing reads them but the residual.
    ["olmo2", ["up_proj -> down_proj"]],
    // Parallel blocks read one norm.
    ["cohere", ["input_layernorm -> q_proj, k_proj, v_proj, gate_proj, up_proj", "up_proj -> down_proj"]],
    [
      "phi3",
      [
        "input_layernorm -> qkv_proj",
        "post_attention_layernorm -> gate_up_proj",
        "gate_up_proj -> down_proj",
      ],
    ],
    // Latents have norms of their own.
    [
      "deepseek-v3",
      [
        "input_layernorm -> q_a_proj, kv_a_proj_with_mqa",
        "q_a_layernorm -> q_b_proj",
        "kv_a_layernorm -> kv_b_proj",
        "post_attention_layernorm -> gate_proj, up_proj",
        "up_proj -> down_proj",
      ],
    ],
    // Short convolutions read a norm, too.
    [
      "lfm2",
      [
        "operator_norm -> conv.in_proj",
        "ffn_norm -> feed_forward.w1, feed_forward.w3",
        "feed_forward.w3 -> feed_forward.w2",
      ],
    ],
    // Two mixers read one norm.
    [
      "falcon-h1",
      [
        "input_layernorm -> mamba.in_proj, q_proj, k_proj, v_proj",
        "pre_ff_layernorm -> feed_forward.gate_proj, feed_forward.up_proj",
        "feed_forward.up_proj -> feed_forward.down_proj",
      ],
    ],
    // A GELU stands between its two Linears.
    ["starcoder2", ["input_layernorm -> q_proj, k_proj, v_proj", "post_attention_layernorm -> c_fc"]],
  ])("of %s are those that factors can pass along", (name, expected) => {
    expect(mappingsOf(name).filter((line) => !line.includes("-> o_proj"))).toEqual(expected);
  });

  it("of a gated delta rule balance all that reads its norm", () => {
    expect(mappingsOf("qwen3-next")).toContain(
      "input_layernorm -> linear_attn.in_proj_qkvz, linear_attn.in_proj_ba",
    );
  });

  it("of experts balance the router and every expert", () => {
    const [, line] = mappingsOf("mixtral").filter((each) => each.includes("layernorm"));
    expect(line).toMatch(/^post_attention_layernorm -> .*gate, .*experts\.0\.w1, .*experts\.0\.w3/);
  });
});
