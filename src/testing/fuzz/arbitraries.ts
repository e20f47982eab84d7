// Inputs as strangers would make them: files of the right form with one or more things wrong. fast-check shrinks what fails.

import * as fc from "fast-check";
import { type ModelTensor, QUANTIZATION, SMALL_MODELS, type SmallModel } from "./small-models.ts";

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

/** A few changes, often none: what is wrong in many places is refused at the first. */
function changes<Change>(change: fc.Arbitrary<Change>): fc.Arbitrary<Change[]> {
  return fc.oneof(
    { weight: 3, arbitrary: fc.constant<Change[]>([]) },
    { weight: 4, arbitrary: fc.array(change, { minLength: 1, maxLength: 1 }) },
    { weight: 1, arbitrary: fc.array(change, { maxLength: 4 }) },
  );
}

/** Replaces or adds fields of an object. */
export function altered(base: Readonly<Record<string, unknown>>): fc.Arbitrary<Record<string, unknown>> {
  const fields = fc.constantFrom(...Object.keys(base));
  const field = fc.oneof({ weight: 8, arbitrary: fields }, { weight: 1, arbitrary: fc.string() });
  return changes(fc.tuple(field, values)).map((made) =>
    Object.fromEntries([...Object.entries(base), ...made]),
  );
}

const args = altered({ num_bits: 4, type: "int", symmetric: true, strategy: "group", group_size: 16 });

const quantization = fc
  .tuple(targets, targets, args, altered(QUANTIZATION))
  .chain(([group, ignore, weights, own]) =>
    altered({ ...own, ignore, config_groups: { group_0: { targets: ["Linear", ...group], weights } } }),
  );

/** Families that the same fields make sense for. */
const FAMILIES = [
  "llama",
  "mixtral",
  "qwen2_moe",
  "qwen3_moe",
  "gemma3_text",
  "phi3",
  "stablelm",
  "cohere",
  "granite",
];

/** config.json of a small model, quantized or not. */
function configsOf(config: SmallModel["config"]): fc.Arbitrary<Record<string, unknown>> {
  const quantized = "quantization_config" in config;
  return fc
    .tuple(
      fc.oneof(
        { weight: 5, arbitrary: fc.constant(config["model_type"]) },
        { weight: 1, arbitrary: fc.constantFrom(...FAMILIES) },
      ),
      quantized ? fc.oneof(fc.constant(QUANTIZATION), quantization) : fc.constant(null),
    )
    .chain(([model_type, quantization_config]) => altered({ ...config, model_type, quantization_config }));
}

export const configs = fc.constantFrom(...SMALL_MODELS).chain(({ config }) => configsOf(config));

const sizes = fc.oneof(
  fc.constantFrom(1, 2, 4, 8, 16, 32, 64, 0),
  fc.constantFrom(2 ** 32, 4096, 2 ** 40, 3),
);
const dtypes = fc.constantFrom("BF16", "F16", "F32", "I32", "I64", "U8", "I8", "F8_E4M3", "F4", "F17");
const BITS: Readonly<Record<string, number>> = { BF16: 16, F16: 16, F32: 32, I32: 32, I64: 64, F4: 4 };

export interface MadeHeader {
  readonly json: object;
  readonly dataBytes: number;
}

type Alteration = (tensors: ModelTensor[], at: number) => ModelTensor[];

const alterations: fc.Arbitrary<Alteration> = fc.oneof(
  fc.constant((tensors: ModelTensor[], at: number) => tensors.toSpliced(at, 1)),
  dtypes.map((dtype) => (tensors: ModelTensor[], at: number) => {
    const [name = "", , shape = []] = tensors[at] ?? [];
    return tensors.with(at, [name, dtype, shape]);
  }),
  fc.array(sizes, { maxLength: 4 }).map((shape) => (tensors: ModelTensor[], at: number) => {
    const [name = "", dtype = ""] = tensors[at] ?? [];
    return tensors.with(at, [name, dtype, shape]);
  }),
  fc.tuple(names, fc.constantFrom(...PARTS)).map(([name, part]) => (tensors: ModelTensor[], at: number) => {
    const [, dtype = "", shape = []] = tensors[at] ?? [];
    return tensors.with(at, [`${name}.${part}`, dtype, shape]);
  }),
);

/** Headers of a model whose tensors lie one after the other, as they must, with something changed. */
function headersOf(whole: readonly ModelTensor[]): fc.Arbitrary<MadeHeader> {
  return fc
    .tuple(
      changes(fc.tuple(alterations, fc.nat({ max: whole.length - 1 }))),
      fc.oneof(
        { weight: 9, arbitrary: fc.constant(null) },
        { weight: 1, arbitrary: fc.tuple(names, values) },
      ),
    )
    .map(([made, extra]) => {
      const tensors = made.reduce((list, [alter, at]) => alter(list, at % list.length), [...whole]);
      let end = 0;
      const entries = tensors.map(([name, dtype, shape]): [string, unknown] => {
        const start = end;
        end += Math.ceil(shape.reduce((product, size) => product * size, BITS[dtype] ?? 8) / 8);
        return [name, { dtype, shape, data_offsets: [start, end] }];
      });
      return { json: Object.fromEntries(extra ? [...entries, extra] : entries), dataBytes: end };
    });
}

export const headers = fc.constantFrom(...SMALL_MODELS).chain(({ tensors }) => headersOf(tensors));

/** A model's configuration and header, each altered for itself. */
export const models = fc
  .constantFrom(...SMALL_MODELS)
  .chain(({ config, tensors }) => fc.record({ config: configsOf(config), header: headersOf(tensors) }));

/** A configuration and the names of a whole model's tensors. */
export const describedModels = fc
  .constantFrom(...SMALL_MODELS)
  .chain(({ config, tensors }) =>
    fc.record({ config: configsOf(config), names: fc.constant(tensors.map(([name]) => name)) }),
  );

/** Text of JSON that a byte or a piece of was lost, doubled or exchanged. */
export function damaged(text: fc.Arbitrary<string>): fc.Arbitrary<string> {
  const change = fc.tuple(
    fc.nat(),
    fc.nat(20),
    fc.constantFrom("", "[", "{", '"', "\\", "\u0000", "1e999", "[".repeat(300)),
  );
  return fc
    .tuple(text, fc.oneof({ weight: 3, arbitrary: fc.constant(null) }, { weight: 1, arbitrary: change }))
    .map(([whole, made]) => {
      if (!made) return whole;
      const [at, length, piece] = made;
      const place = whole.length === 0 ? 0 : at % whole.length;
      return whole.slice(0, place) + piece + whole.slice(place + length);
    });
}

/** One of the files, whole, cut off, or with some bytes changed. */
export function damagedBytes(files: readonly Uint8Array[]): fc.Arbitrary<Uint8Array<ArrayBuffer>> {
  const edits = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 });
  return fc
    .tuple(fc.constantFrom(...files), edits, fc.option(fc.nat(), { freq: 4 }))
    .map(([file, changed, length]) => {
      const bytes = new Uint8Array(file);
      for (const [at, byte] of changed) bytes[at % bytes.byteLength] = byte;
      return length === null ? bytes : bytes.slice(0, length % (bytes.byteLength + 1));
    });
}

const modifierNames = fc.constantFrom(
  "QuantizationModifier",
  "QuantizationModifier",
  "GPTQModifier",
  "GPTQModifier",
  "GPTQModifier",
  "AWQModifier",
);

export const recipes = damaged(
  fc
    .tuple(targets, targets, args, modifierNames)
    .chain(([group, ignore, weights, modifier]) =>
      altered({ ignore, config_groups: { g: { targets: ["Linear", ...group], weights } } }).chain((own) =>
        altered({ [modifier]: own }),
      ),
    )
    .map((modifiers) => JSON.stringify({ a_stage: { a_modifiers: modifiers } })),
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
