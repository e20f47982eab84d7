import { describe, expect, it } from "vitest";
import { UnsupportedModelError } from "../errors.ts";
import { bf16ToNumber } from "../formats/dtype.ts";
import { e4m3ToNumber } from "../formats/fp8.ts";
import { tensorBytes } from "../formats/safetensors.ts";
import { dequantizedTensors } from "../plan/dequantized-tensors.ts";
import type { SourceTensor } from "../plan/read-headers.ts";
import type { FileRange } from "./api.ts";
import { dequantizingSource } from "./dequantizing-source.ts";
import type { RemoteSource } from "./remote-source.ts";

const FILE = "model.safetensors";
const [ROWS, COLUMNS] = [5, 6];

function tensor(
  name: string,
  dtype: "F8_E4M3" | "F32" | "BF16" | "I8",
  shape: number[],
  start: number,
): SourceTensor {
  return { name, dtype, shape, start, end: start + tensorBytes({ name, dtype, shape }), file: FILE };
}

/** A Linear in blocks of 2 × 4 as DeepSeek stores it, and a norm. */
function blockModel() {
  const codes = Uint8Array.from({ length: ROWS * COLUMNS }, (_, index) => (index * 37) % 120);
  const scales = Float32Array.from({ length: 3 * 2 }, (_, index) => 2 ** (index - 3));
  const weight = tensor("model.layers.0.mlp.up_proj.weight", "F8_E4M3", [ROWS, COLUMNS], 0);
  const scale = tensor("model.layers.0.mlp.up_proj.weight_scale_inv", "F32", [3, 2], weight.end);
  const norm = tensor("model.norm.weight", "BF16", [4], scale.end);
  const bytes = new Uint8Array(norm.end);
  bytes.set(codes, weight.start);
  bytes.set(new Uint8Array(scales.buffer), scale.start);
  const expected = Array.from(
    codes,
    (code, index) =>
      e4m3ToNumber(code) *
      (scales[Math.floor(index / COLUMNS / 2) * 2 + Math.floor((index % COLUMNS) / 4)] ?? Number.NaN),
  );
  return { tensors: [weight, scale, norm], bytes, expected };
}

const CONFIG = { quantization_config: { quant_method: "fp8", weight_block_size: [2, 4] } };

function open() {
  const { tensors, bytes, expected } = blockModel();
  const dequantized = dequantizedTensors("m", tensors, CONFIG, "fp8");
  const prefetched: FileRange[] = [];
  const remote = {
    read: async ({ start, end }: FileRange) => await Promise.resolve(bytes.slice(start, end)),
    prefetch: async (ranges: readonly FileRange[]) => await Promise.resolve(void prefetched.push(...ranges)),
    progress: async () => await Promise.resolve("progress"),
  } as unknown as RemoteSource;
  return { dequantized, expected, prefetched, source: dequantizingSource(remote, dequantized.modules) };
}

describe("a source of FP8 in blocks", () => {
  it("has bfloat16 weights, and no scales", () => {
    const seen = open().dequantized.tensors.map(
      ({ name, dtype, shape }) => `${name} ${dtype} ${shape.join("x")}`,
    );
    expect(seen).toEqual(["model.norm.weight BF16 4", "model.layers.0.mlp.up_proj.weight BF16 5x6"]);
  });

  it.each([
    [0, 60],
    [12, 36],
    [2, 10],
    [22, 58],
  ])("reads bytes %d to %d of a weight as what its codes mean", async (start, end) => {
    const { dequantized, expected, source } = open();
    const path = [...dequantized.modules.keys()][0] ?? "";
    const bytes = await source.read({ path, start, end });
    expect(Array.from(new Uint16Array(bytes.buffer), bf16ToNumber)).toEqual(
      expected.slice(start / 2, end / 2),
    );
  });

  it("passes everything else on, and asks for codes and scales ahead", async () => {
    const { dequantized, prefetched, source } = open();
    expect(await source.read({ path: FILE, start: 30, end: 34 })).toHaveLength(4);
    expect(await source.progress()).toBe("progress");
    const path = [...dequantized.modules.keys()][0] ?? "";
    await source.prefetch([{ path, start: 0, end: 60 }]);
    expect(prefetched).toEqual([
      { path: FILE, start: 0, end: 30 },
      { path: FILE, start: 30, end: 54 },
    ]);
  });
});

it("refuses models of quantized integers", () => {
  const tensors = [tensor("m.weight", "I8", [4, 4], 0)];
  const attempt = () => dequantizedTensors("acme/tiny", tensors, {}, "gptq");
  expect(attempt).toThrow(UnsupportedModelError);
  expect(attempt).toThrow(/acme\/tiny is already quantized \(quant_method "gptq"\)/);
});
