// Inputs as strangers would make them: files of the right form with one or more things wrong. fast-check shrinks what fails.

import * as fc from "fast-check";

const WORDS = [
  "model.layers.0.self_attn.q_proj", "model.layers.0.mlp.experts.gate_up_proj", "model.layers.0.mlp.experts.down_proj",
  "model.embed_tokens", "lm_head", "model.layers.1.mlp.experts.0.w1", "model.norm", "__proto__", "constructor", "",
]; // prettier-ignore

const PARTS = [
  "weight",
  "weight_packed",
  "weight_scale",
  "weight_zero_point",
  "weight_shape",
  "weight_g_idx",
];

/** Numbers where something wraps, rounds or ends. */
export const numbers = fc.oneof(
  fc.constantFrom(0, 1, 2, 4, 8, 16, 32, 64, 128, -1, 0.5, 2 ** 31, 2 ** 32, 2 ** 32 + 1, 2 ** 53, 1e308, -0),
  fc.integer(),
  fc.double(),
);

const deep = fc.integer({ min: 90, max: 1000 }).map((depth) => {
  let value: unknown = 1;
  for (let level = 0; level < depth; level++) value = level % 2 ? [value] : { a: value };
  return value;
});

const long = fc.integer({ min: 1000, max: 200_000 }).map((length) => "x".repeat(length));

/** Any value, mostly small, at times very long or deep. */
export const values: fc.Arbitrary<unknown> = fc.oneof(
  { weight: 10, arbitrary: fc.jsonValue({ maxDepth: 4 }) },
  { weight: 6, arbitrary: numbers },
  { weight: 1, arbitrary: deep },
  { weight: 1, arbitrary: long },
);

const names = fc.oneof(
  { weight: 10, arbitrary: fc.constantFrom(...WORDS) },
  { weight: 2, arbitrary: fc.string({ maxLength: 30 }) },
  { weight: 1, arbitrary: long },
);

/** A pattern out of the pieces that patterns are made of. */
export const patterns = fc
  .array(
    fc.constantFrom(
      ".*", "(", ")", "(?:", "(?=", "(?!", "(?<=", "(?<!", "(?P<a>", "(?P=a)", "|", "*", "+", "?", "{2}", "{30}", "{,9}",
      "[a-z]", "[^.]", "\\d", "\\w", "\\b", "\\1", "\\.", "^", "$", "layers", "mlp", "gate", "proj", "(.|.)*", "(?i)", "]", "\\",
    ), // prettier-ignore
    { maxLength: 40 },
  )
  .map((parts) => parts.join(""));

const targets = fc.array(
  fc.oneof(
    names,
    fc.constantFrom("Linear", "lm_head"),
    patterns.map((pattern) => `re:${pattern}`),
  ),
  { maxLength: 12 },
);

/** Replaces, removes or adds fields of an object. */
function altered(base: Readonly<Record<string, unknown>>): fc.Arbitrary<Record<string, unknown>> {
  const fields = fc.constantFrom(...Object.keys(base));
  return fc
    .array(
      fc.tuple(fc.oneof({ weight: 8, arbitrary: fields }, { weight: 1, arbitrary: fc.string() }), values),
      {
        maxLength: 4,
      },
    )
    .map((changes) => Object.fromEntries([...Object.entries(base), ...changes]));
}

const args = altered({
  num_bits: 4, type: "int", symmetric: true, strategy: "group", group_size: 32, block_structure: null, dynamic: false,
  actorder: null, scale_dtype: null,
}); // prettier-ignore

const quantization = fc
  .tuple(targets, targets, args, altered({ quant_method: "compressed-tensors", format: "pack-quantized" }))
  .chain(([group, ignore, weights, own]) =>
    altered({ ...own, ignore, config_groups: { group_0: { targets: group, weights } } }),
  );

/** config.json of any family, quantized or not. */
export const configs = fc
  .tuple(
    fc.constantFrom("llama", "mixtral", "qwen2_moe", "qwen3_moe", "gemma3_text", "phi3", "stablelm", "cohere", "granite"),
    fc.option(fc.oneof(quantization, fc.constantFrom({ quant_method: "fp8" }, { quant_method: "mxfp4" }))),
  )
  .chain(([model_type, quantization_config]) =>
    altered({
      model_type, quantization_config, architectures: ["LlamaForCausalLM"], hidden_size: 16, intermediate_size: 32,
      num_hidden_layers: 2, num_attention_heads: 4, num_key_value_heads: 2, head_dim: 4, vocab_size: 64, num_local_experts: 4,
      num_experts_per_tok: 2, max_position_embeddings: 128, rope_theta: 10_000, rope_scaling: null, layer_types: null,
      sliding_window: null, tie_word_embeddings: false, rms_norm_eps: 1e-6, text_config: null, torch_dtype: "bfloat16",
    }),
  ); // prettier-ignore

const sizes = fc.oneof(
  fc.constantFrom(1, 2, 4, 8, 16, 32, 64, 0),
  fc.constantFrom(2 ** 32, 4096, 2 ** 40, 3),
);
const dtypes = fc.constantFrom("BF16", "F16", "F32", "I32", "I64", "U8", "I8", "F8_E4M3", "F4", "F17");
const BITS: Readonly<Record<string, number>> = { BF16: 16, F16: 16, F32: 32, I32: 32, I64: 64, F4: 4 };

/** Headers whose tensors lie one after the other, as they must, unless an alteration moves them. */
export const headers = fc
  .tuple(
    fc.array(
      fc.record({
        name: fc
          .tuple(names, fc.constantFrom(...PARTS, ""))
          .map(([name, part]) => (part ? `${name}.${part}` : name)),
        dtype: dtypes,
        shape: fc.array(sizes, { maxLength: 4 }),
      }),
      { maxLength: 12 },
    ),
    fc.option(fc.tuple(names, values)),
  )
  .map(([tensors, extra]) => {
    let end = 0;
    const entries = tensors.map(({ name, dtype, shape }): [string, unknown] => {
      const start = end;
      end += Math.ceil(shape.reduce((product, size) => product * size, BITS[dtype] ?? 8) / 8);
      return [name, { dtype, shape, data_offsets: [start, end] }];
    });
    return { json: Object.fromEntries(extra ? [...entries, extra] : entries), dataBytes: end };
  });

/** Text of JSON that a byte or a piece of was lost, doubled or exchanged. */
export function damaged(text: fc.Arbitrary<string>): fc.Arbitrary<string> {
  const change = fc.tuple(
    fc.nat(),
    fc.nat(20),
    fc.constantFrom("", "[", "{", '"', "\\", "\u0000", "1e999", "[".repeat(300)),
  );
  return fc.tuple(text, fc.option(change, { freq: 2 })).map(([whole, made]) => {
    if (!made) return whole;
    const [at, length, piece] = made;
    const place = whole.length === 0 ? 0 : at % whole.length;
    return whole.slice(0, place) + piece + whole.slice(place + length);
  });
}

export const recipes = damaged(
  fc
    .tuple(
      targets,
      targets,
      args,
      fc.constantFrom("GPTQModifier", "QuantizationModifier", "AWQModifier"),
      values,
    )
    .map(([group, ignore, weights, modifier, other]) =>
      JSON.stringify({
        a_stage: {
          a_modifiers: { [modifier]: { ignore, config_groups: { g: { targets: group, weights } } } },
          b: other,
        },
      }),
    ),
);

/** Calibration files: ids, conversations, text. */
export const calibrationTexts = damaged(
  fc.oneof(
    fc.array(fc.array(numbers, { maxLength: 20 }), { maxLength: 5 }).map((ids) => JSON.stringify(ids)),
    fc
      .array(values, { maxLength: 5 })
      .map((rows) => rows.map((row) => JSON.stringify({ text: row, messages: row })).join("\n")),
    fc.string(),
  ),
);
