// Where a config.json says how a model is quantized: `quantization_config`, at the top or, in some multimodal models, in the part
// that describes the text model; `compression_config` in the first releases of compressed-tensors.

type Fields = Readonly<Record<string, unknown>>;

const FIELD = "quantization_config";
const OLD_FIELD = "compression_config";
/** Parts that describe a model inside of another: text_config, llm_config, thinker_config. */
const PART = /_config$/;

/** The field's value as one of today's, or null if config.json says nothing of it. */
export function quantizationField(config: Fields): Fields | null {
  if (isFields(config[FIELD])) return config[FIELD];
  for (const part of [config["text_config"], ...partsOf(config)]) {
    if (isFields(part) && isFields(part[FIELD])) return part[FIELD];
  }
  for (const owner of [config, config["text_config"]]) {
    const old = isFields(owner) ? owner[OLD_FIELD] : null;
    // Before it had its new name, the field had no quant_method: there was one library.
    if (isFields(old)) return { quant_method: "compressed-tensors", ...old };
  }
  return null;
}

/** The configuration without a word of how it is quantized, wherever it stood. */
export function withoutQuantization(config: Fields): Record<string, unknown> {
  const plain = Object.entries(withoutField(config)).map(([name, value]) => [
    name,
    PART.test(name) && isFields(value) ? withoutField(value) : value,
  ]);
  return Object.fromEntries(plain);
}

function withoutField(config: Fields): Record<string, unknown> {
  return Object.fromEntries(Object.entries(config).filter(([name]) => name !== FIELD && name !== OLD_FIELD));
}

function partsOf(config: Fields): unknown[] {
  return Object.entries(config).flatMap(([name, value]) => (PART.test(name) ? [value] : []));
}

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
