// What LLM Compressor made of the small model in e2e/fixtures/golden/source, as digests; see make_digests.py there.

import { type FloatDtype, narrowFromFloat32, widenToFloat32 } from "../formats/numbers/dtype.ts";
import {
  HEADER_PREFIX_BYTES,
  layOutSafetensors,
  parseHeader,
  parseHeaderLength,
  type TensorEntry,
  type TensorSpec,
} from "../formats/safetensors/safetensors.ts";

export interface GoldenRecipe {
  /** Arguments of QuantizationModifier, without ignore. */
  readonly arguments: Readonly<Record<string, unknown>>;
  readonly dtype: "bfloat16" | "float16" | "float32";
  /** SHA-256 of model.safetensors. */
  readonly file: string;
  /** First 16 hex digits of the SHA-256 of each tensor of a quantized module. */
  readonly tensors: Readonly<Record<string, string>>;
  /** The same of each weight that compressed-tensors reads back, in bfloat16, by module. */
  readonly dequantized: Readonly<Record<string, string>>;
  readonly quantization_config: Readonly<Record<string, unknown>>;
}

export interface GoldenDigests {
  readonly recipes: Readonly<Record<string, GoldenRecipe>>;
}

const DTYPES = { bfloat16: "BF16", float16: "F16", float32: "F32" } as const;

export function goldenDtype(recipe: GoldenRecipe): FloatDtype {
  return DTYPES[recipe.dtype];
}

/** The recipe's YAML with `lm_head` ignored, as the digests were made. */
export function goldenYaml(recipe: GoldenRecipe): string {
  const modifier = { QuantizationModifier: { ...recipe.arguments, ignore: ["lm_head"] } };
  return JSON.stringify({ quant_stage: { quant_modifiers: modifier } });
}

/** A safetensors file in memory. */
export interface MemoryFile {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly entries: readonly TensorEntry[];
}

export function openMemoryFile(bytes: Uint8Array<ArrayBuffer>): MemoryFile {
  const length = parseHeaderLength("memory", bytes, bytes.byteLength);
  const header = bytes.subarray(HEADER_PREFIX_BYTES, HEADER_PREFIX_BYTES + length);
  return { bytes, entries: parseHeader("memory", header, bytes.byteLength) };
}

/** A file of tensors from their bytes by name. */
function makeMemoryFile(specs: readonly TensorSpec[], bytesOf: (name: string) => Uint8Array): MemoryFile {
  const layout = layOutSafetensors(specs);
  const bytes = new Uint8Array(layout.fileBytes);
  bytes.set(layout.header);
  for (const { name, start } of layout.entries) bytes.set(bytesOf(name), start);
  return { bytes, entries: layout.entries };
}

export function tensorOf(file: MemoryFile, name: string): Uint8Array<ArrayBuffer> {
  const entry = file.entries.find((candidate) => candidate.name === name);
  if (!entry) throw new Error(`no tensor ${name}`);
  return file.bytes.slice(entry.start, entry.end);
}

/** The same model in another dtype. */
export function castFile(file: MemoryFile, dtype: FloatDtype): MemoryFile {
  if (dtype === "BF16") return file;
  const specs = file.entries.map(({ name, shape }) => ({ name, dtype, shape }));
  return makeMemoryFile(specs, (name) =>
    narrowFromFloat32(dtype, widenToFloat32("BF16", tensorOf(file, name))),
  );
}

export async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
