/** What a preset's name says of its weights, as compressed-tensors forms its names. */
export interface SchemeFacts {
  readonly weightBits: number;
  /** Integers with a scale per group or channel: what GPTQ chooses codes for. */
  readonly integer: boolean;
  /** Weights that share a scale, or null where a channel, a block or the whole tensor does. */
  readonly groupSize: number | null;
  /** True if the whole tensor shares a scale. */
  readonly oneScale: boolean;
  /** True if the format itself fixes the groups. */
  readonly fixedGroups: boolean;
  /** True if activations have to be measured on a text, however weights are rounded. */
  readonly calibrated: boolean;
}

/** Writes the weights of a quantized model as plain ones; a preset of its own kind, with nothing to set. */
export const UNQUANTIZED = "UNQUANTIZED";

/** Every preset, the usual ones first. */
export const SCHEMES: readonly string[] = [
  "W4A16",
  "W4A16_ASYM",
  "W8A16",
  "W8A8",
  "INT8",
  "FP8_DYNAMIC",
  "FP8_BLOCK",
  "FP8",
  "NVFP4",
  "NVFP4A16",
  "MXFP4",
  "MXFP4A16",
  "MXFP8",
  "MXFP8A16",
  "W4AFP8",
  "W4A8",
  "W6A16",
  "W5A16",
  "W7A16",
  "W3A16",
  "W2A16",
  "W7A8",
  "W6A8",
  "W5A8",
  "W3A8",
  "W2A8",
  "W4A4",
  "W3A4",
  "W2A4",
];

const PER_CHANNEL = new Set(["W8A8", "INT8"]);
const MEASURED = new Set(["FP8", "NVFP4"]);
const FLOAT_GROUPS: Readonly<Record<string, number>> = { NVFP: 16, MXFP: 32 };

/** Reads a preset's name in any case; null if it is not formed like one. Whether it exists, the plan says. */
export function readScheme(name: string): SchemeFacts | null {
  const upper = name.toUpperCase();
  const integer = /^(?:W([2-8])A(?:4|8|16|FP8)(?:_ASYM)?|INT8)$/.exec(upper);
  if (integer) {
    const groupSize = PER_CHANNEL.has(upper) ? null : 128;
    const weightBits = Number(integer[1] ?? 8);
    return { weightBits, integer: true, groupSize, oneScale: false, fixedGroups: false, calibrated: false };
  }
  const float = /^(?:(FP)8(?:_DYNAMIC|_BLOCK)?|(NVFP)4(?:A16)?|(MXFP)[48](?:A16)?)$/.exec(upper);
  if (!float) return null;
  const groupSize = FLOAT_GROUPS[float[2] ?? float[3] ?? ""] ?? null;
  return {
    weightBits: upper.includes("8") ? 8 : 4,
    integer: false,
    groupSize,
    oneScale: upper === "FP8",
    fixedGroups: groupSize !== null,
    calibrated: MEASURED.has(upper),
  };
}
