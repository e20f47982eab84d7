// A fixture's checkpoint with the Linears of its layers quantized, as compressed-tensors stores them.

import { cellGrid, codeStorage, compressionFormat } from "../formats/schemes/compression-format.ts";
import { numberToE4m3 } from "../formats/numbers/fp8.ts";
import { packStream } from "../formats/numbers/packing.ts";
import type { QuantizationArgs, QuantizationScheme } from "../formats/schemes/quantization-args.ts";
import { layerLinears } from "../model/layer-linears.ts";
import type { StoredModel } from "../evaluate/weights/stored-model.ts";
import { type ArchitectureFixture, type FixtureTensor, floatsOf } from "./architecture-fixture.ts";
import { storedFixture } from "./stored-fixture.ts";

/** Integers with symmetric ranges, or e4m3; scales in float32. */
export function quantizedFixture(
  { config, tensors }: ArchitectureFixture,
  scheme: QuantizationScheme & { readonly weights: QuantizationArgs },
): StoredModel {
  const stored = new Map<string, FixtureTensor>(tensors);
  const { description } = storedFixture(config, tensors);
  const modules = new Set<string>();
  const largest = scheme.weights.type === "float" ? 448 : 2 ** (scheme.weights.num_bits - 1) - 1;
  const { rowsPadded } = codeStorage(scheme.weights, compressionFormat(scheme));
  for (const { rows, columns, module } of description.layers.flatMap(layerLinears)) {
    const weight = floatsOf(tensors, `${module}.weight`);
    const { cellRows, cellColumns, cellsPerRow, cellsPerColumn } = cellGrid(scheme.weights, rows, columns);
    const cellAt = (at: number) =>
      Math.floor(at / columns / cellRows) * cellsPerRow + Math.floor((at % columns) / cellColumns);
    const scales = new Float32Array(cellsPerColumn * cellsPerRow);
    for (const [at, value] of weight.entries()) {
      scales[cellAt(at)] = Math.max(scales[cellAt(at)] ?? 0, Math.abs(value) / largest);
    }
    const scaled = weight.map((value, at) => value / (scales[cellAt(at)] ?? 1));
    modules.add(module);
    stored.delete(`${module}.weight`);
    stored.set(`${module}.weight_scale`, tensorOf("F32", [cellsPerColumn, cellsPerRow], scales));
    stored.set(`${module}.input_scale`, tensorOf("F32", [1], Float32Array.of(0.0123)));
    if (rowsPadded) {
      const { num_bits: bits } = scheme.weights;
      const words = packStream(scaled.map(Math.round), bits, 2 ** (bits - 1));
      stored.set(`${module}.weight_packed`, tensorOf("I32", [rows, words.length / rows], words));
    } else {
      const isFloat = scheme.weights.type === "float";
      const codes = isFloat ? Uint8Array.from(scaled, numberToE4m3) : Int8Array.from(scaled, Math.round);
      stored.set(`${module}.weight`, tensorOf(isFloat ? "F8_E4M3" : "I8", [rows, columns], codes));
    }
  }
  return storedFixture(config, stored, (module) => (modules.has(module) ? scheme : null));
}

function tensorOf(
  dtype: string,
  shape: number[],
  { buffer }: { readonly buffer: ArrayBuffer },
): FixtureTensor {
  return { dtype, shape, bytes: new Uint8Array(buffer) };
}
