// Who opens a mixture of experts. transformers has each layer's experts in one tensor: where it makes that tensor of single
// experts, it can of some schemes alone (`CompressedTensorsHfQuantizer.update_weight_conversions`, `DecompressExperts`), and
// what it cannot it leaves uninitialised, with a warning, or refuses. vLLM has a method of its own for experts of each scheme
// (`CompressedTensorsMoEMethod.get_moe_method`). Seen with transformers 5.17 on a tiny Qwen3-MoE in each preset.

import type { ServerNote } from "../../api/compressor-api.ts";
import { compressionFormat } from "../../formats/schemes/compression-format.ts";
import type { QuantizationArgs, QuantizationScheme } from "../../formats/schemes/quantization-args.ts";
import type { ConfigGroup } from "../../formats/recipe/recipe.ts";
import { schemeName } from "../../formats/schemes/scheme-name.ts";
import { type LinearClasses, TRANSFORMERS } from "../../model/linear-classes.ts";
import { listSome } from "../../formats/text/list-some.ts";

const EXPERT = /\.experts\.\d+\./;
const SHOWN = 3;

/**
 * Types whose experts transformers does not look for one by one, and servers do: LLM Compressor writes them so
 * (`ARCH_TO_IMPORT_PATHS` of its linearize_moe; HYV4ForCausalLM in vLLM).
 */
const SERVED_SINGLY = new Set(["qwen3_vl_moe", "qwen3_vl_moe_text", "gemma4", "gemma4_text", "hy_v4"]);

/** The experts of any layer, as servers that look for single ones name them. */
export const EVERY_EXPERT = "re:.*\\.experts\\.\\d+\\..*";

/** True for a Linear of one expert. */
export function isExpert(module: string): boolean {
  return EXPERT.test(module);
}

/** True if experts that the files hold in one tensor stay so, because nobody is known to find single ones. */
export function keepsFused({ experts }: LinearClasses): boolean {
  return experts?.how === "fused" && !SERVED_SINGLY.has(experts.modelType);
}

/** What becomes of experts that stay in one tensor, in a sentence. */
export function keptFusedNote({ experts }: LinearClasses, tensors: number): string {
  return `The experts lie in ${tensors} tensors, and transformers ${TRANSFORMERS} loads models of the type ${experts?.modelType ?? "unknown"} in that form alone: they stay as they are, and only the other Linears are quantized.`;
}

export interface ExpertFacts {
  readonly classes: LinearClasses;
  readonly groups: readonly ConfigGroup[];
  readonly quantized: readonly { readonly module: string; readonly group: ConfigGroup }[];
  /** Modules that stay as they are. */
  readonly ignored: readonly string[];
}

/** What transformers or vLLM would not open, or would open wrongly, of this plan's experts. */
export function expertNotes(facts: ExpertFacts): ServerNote[] {
  const experts = facts.quantized.filter(({ module }) => isExpert(module));
  const plain = facts.ignored.filter(isExpert);
  const notes = facts.classes.experts === null ? [] : [transformersNote(facts, experts, plain)];
  return [...notes, vllmNote(experts)].filter((found) => found !== null);
}

type QuantizedExpert = ExpertFacts["quantized"][number];

function transformersNote(
  { classes, groups }: ExpertFacts,
  experts: readonly QuantizedExpert[],
  plain: readonly string[],
): ServerNote | null {
  if (classes.experts?.how === "fused") {
    const modules = [...experts.map(({ module }) => module), ...plain];
    return note(
      "transformers",
      modules,
      `transformers ${TRANSFORMERS} will not find the experts of this result (${listSome(modules, SHOWN)}) and leaves them uninitialised with no more than a warning: it holds those of ${classes.experts.modelType} in one tensor. They are written as a Linear each, as LLM Compressor writes them and vLLM reads them. For transformers add re:.*experts.* to ignore.`,
    );
  }
  const taken = groupOfExperts(groups);
  if (!taken || isFloat8(taken.scheme.weights)) return float8Note(experts);
  const other = experts.filter(({ group }) => group !== taken || !isUnpacked(group.scheme));
  const [first] = other;
  if (first) {
    const modules = other.map(({ module }) => module);
    const name = schemeName(first.group.scheme);
    return first.group.scheme.weights?.strategy === "tensor_group"
      ? note(
          "transformers",
          modules,
          `transformers ${TRANSFORMERS} will open this result with wrong experts (${listSome(modules, SHOWN)}): it makes one tensor of them without their global scales. vLLM reads them right. ${WAYS}`,
        )
      : note("transformers", modules, refusal(modules, name));
  }
  return note(
    "transformers",
    plain,
    `transformers ${TRANSFORMERS} will not find the experts that stay as they are (${listSome(plain, SHOWN)}) and leaves them uninitialised with no more than a warning: beside ${schemeName(taken.scheme)} it looks for quantized ones alone. vLLM reads them. For transformers quantize them too, or take FP8_DYNAMIC for the rest.`,
  );
}

/** With 8-bit floats a scale of each row, or of the tensor, is multiplied in, and plain experts are found. */
function float8Note(experts: readonly QuantizedExpert[]): ServerNote | null {
  const other = experts.filter(
    ({ group: { scheme } }) => !isFloat8(scheme.weights) || !isScaledByRow(scheme),
  );
  const modules = other.map(({ module }) => module);
  const [first] = other;
  return first ? note("transformers", modules, refusal(modules, schemeName(first.group.scheme))) : null;
}

const WAYS = "For transformers take FP8_DYNAMIC, W4A16 or W8A16.";

function refusal(modules: readonly string[], scheme: string): string {
  return `transformers ${TRANSFORMERS} will refuse this result: it makes one tensor of a layer's experts, which it cannot of ${scheme} (${listSome(modules, SHOWN)}). vLLM holds them as they are written. ${WAYS}`;
}

/** The group that transformers takes the experts' scheme from (`get_experts_scheme`). */
function groupOfExperts(groups: readonly ConfigGroup[]): ConfigGroup | null {
  const isPattern = (target: string) => target.startsWith("re:");
  return (
    groups.find(({ targets }) => targets.some((one) => isPattern(one) && one.includes("experts"))) ??
    groups.find(({ targets }) => targets.some((one) => !isPattern(one))) ??
    groups[0] ??
    null
  );
}

function isFloat8(weights: QuantizationArgs | null): boolean {
  return weights?.type === "float" && weights.num_bits === 8;
}

function isScaledByRow({ weights }: QuantizationScheme): boolean {
  return (weights?.strategy === "channel" || weights?.strategy === "tensor") && weights.scale_dtype === null;
}

/** Codes that it unpacks with a scale and a shape alone: no zero points, no order of groups, no global scale. */
function isUnpacked(scheme: QuantizationScheme): boolean {
  const { weights } = scheme;
  if (!weights) return false;
  const format = compressionFormat(scheme);
  if (format === "mxfp4-pack-quantized") return true;
  return format === "pack-quantized" && weights.symmetric && weights.actorder !== "group";
}

function vllmNote(experts: readonly QuantizedExpert[]): ServerNote | null {
  const other = experts.filter(({ group }) => !isServed(group.scheme));
  const [first] = other;
  if (!first) return null;
  const modules = other.map(({ module }) => module);
  return note(
    "vLLM",
    modules,
    `vLLM will refuse this result: it has no method for experts of ${schemeName(first.group.scheme)} (${listSome(modules, SHOWN)}). W4A16, W8A16, W8A8, FP8_DYNAMIC, FP8_BLOCK and the formats of NVFP4 and MX have one.`,
  );
}

/** What vLLM 0.32 has a method for. */
function isServed(scheme: QuantizationScheme): boolean {
  const { weights, input_activations: inputs } = scheme;
  if (!weights) return true;
  const { strategy, num_bits, symmetric } = weights;
  if (weights.type === "float") {
    // The microscaling formats, and NVFP4, run with or without their activations; float8 needs them.
    return strategy === "tensor_group" || weights.scale_dtype !== null || inputs?.type === "float";
  }
  const isGrouped = strategy === "group" || strategy === "channel";
  if (!inputs) return isGrouped && compressionFormat(scheme) === "pack-quantized";
  if (inputs.strategy !== "token" || inputs.num_bits !== 8 || !symmetric) return false;
  if (inputs.type === "float") return num_bits === 4 && strategy === "group";
  return num_bits === 4 ? isGrouped : num_bits === 8 && (strategy === "channel" || strategy === "tensor");
}

function note(server: ServerNote["server"], modules: readonly string[], sentence: string): ServerNote | null {
  return modules.length === 0 ? null : { server, modules, ignore: [], sentence };
}
