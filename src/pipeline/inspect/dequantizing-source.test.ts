import { describe, expect, it } from "vitest";
import { MalformedModelError, UnsupportedModelError } from "../../errors.ts";
import { bf16ToNumber, narrowFromFloat32, widenToFloat32 } from "../../formats/numbers/dtype.ts";
import { e4m3ToNumber } from "../../formats/numbers/fp8.ts";
import { packStream } from "../../formats/numbers/packing.ts";
import { FILE, openDequantized, type Part, part } from "../../testing/sources/open-dequantized.ts";

const MODULE = "model.layers.0.mlp.up_proj";
const [ROWS, COLUMNS] = [5, 6];

/** A Linear in blocks of 2 × 4 as DeepSeek stores it, and a norm. */
function blockModel() {
  const codes = Uint8Array.from({ length: ROWS * COLUMNS }, (_, index) => (index * 37) % 120);
  const scales = Float32Array.from({ length: 3 * 2 }, (_, index) => 2 ** (index - 3));
  const parts = [
    part(`${MODULE}.weight`, "F8_E4M3", [ROWS, COLUMNS], codes),
    part(`${MODULE}.weight_scale_inv`, "F32", [3, 2], scales),
    part("model.norm.weight", "BF16", [4], new Uint16Array(4)),
  ];
  const expected = Array.from(
    codes,
    (code, index) =>
      e4m3ToNumber(code) *
      (scales[Math.floor(index / COLUMNS / 2) * 2 + Math.floor((index % COLUMNS) / 4)] ?? Number.NaN),
  );
  return { parts, expected };
}

const BLOCKS = { quantization_config: { quant_method: "fp8", weight_block_size: [2, 4] } };

describe("a source of FP8 in blocks", () => {
  it("has bfloat16 weights, and no scales", async () => {
    const { dequantized } = await openDequantized(blockModel().parts, BLOCKS, "fp8");
    const seen = dequantized.tensors.map(({ name, dtype, shape }) => `${name} ${dtype} ${shape.join("x")}`);
    expect(seen).toEqual(["model.norm.weight BF16 4", "model.layers.0.mlp.up_proj.weight BF16 5x6"]);
  });

  it.each([
    [0, 60],
    [12, 36],
    [2, 10],
    [22, 58],
  ])("reads bytes %d to %d of a weight as what its codes mean", async (start, end) => {
    const { parts, expected } = blockModel();
    const { source, path } = await openDequantized(parts, BLOCKS, "fp8");
    const bytes = await source.read({ path, start, end });
    expect(Array.from(new Uint16Array(bytes.buffer), bf16ToNumber)).toEqual(
      expected.slice(start / 2, end / 2),
    );
  });

  it("passes everything else on, and asks for codes and scales ahead", async () => {
    const { prefetched, source, path } = await openDequantized(blockModel().parts, BLOCKS, "fp8");
    expect(await source.read({ path: FILE, start: 30, end: 34 })).toHaveLength(4);
    expect(await source.progress()).toBe("progress");
    await source.prefetch([{ path, start: 0, end: 60 }]);
    expect(prefetched).toEqual([
      { path: FILE, start: 0, end: 30 },
      { path: FILE, start: 30, end: 54 },
    ]);
  });
});

it("forgets a weight's parts as one range with what nothing is read from, and none of an empty range", async () => {
  const { evicted, source, path } = await openDequantized(blockModel().parts, BLOCKS, "fp8");
  await source.evict([{ path, start: 0, end: 0 }]);
  expect(evicted.splice(0)).toEqual([{ path: FILE, start: -8, end: 0 }]);
  await source.evict([{ path, start: 0, end: 60 }]);
  expect(evicted).toEqual([{ path: FILE, start: -8, end: 54 }]);
});

function packedRows(codes: readonly number[][], bits: number): Uint32Array {
  return Uint32Array.from(codes.flatMap((row) => [...packStream(row, bits, 2 ** (bits - 1))]));
}

function configOf(weights: object, own: object = {}) {
  const config_groups = { group_0: { targets: ["Linear"], weights: { type: "int", ...weights } } };
  return {
    ...own,
    quantization_config: { quant_method: "compressed-tensors", format: "pack-quantized", config_groups },
  };
}

/** 3-bit codes of two rows and 35 columns, which end in the middle of a word. */
const ODD = [0, 1].map((row) => Array.from({ length: 35 }, (_, column) => ((row + column) % 8) - 4));

function channelParts(columns = 35n): Part[] {
  return [
    part(`${MODULE}.weight_packed`, "I32", [2, 4], packedRows(ODD, 3)),
    part(`${MODULE}.weight_shape`, "I64", [2], BigInt64Array.of(2n, columns)),
    part(`${MODULE}.weight_scale`, "F16", [2, 1], narrowFromFloat32("F16", Float32Array.of(0.5, 3))),
  ];
}

const CHANNEL = { num_bits: 3, symmetric: true, strategy: "channel" };

describe("a compressed-tensors source", () => {
  it("takes the columns of weights without groups from weight_shape, and the dtype from config.json", async () => {
    const config = configOf(CHANNEL, { torch_dtype: "float16" });
    const { dequantized, source, path } = await openDequantized(channelParts(), config, "compressed-tensors");
    expect(dequantized.tensors).toMatchObject([{ name: `${MODULE}.weight`, dtype: "F16", shape: [2, 35] }]);
    const values = widenToFloat32("F16", await source.read({ path, start: 0, end: 140 }));
    expect([...values]).toEqual(
      ODD.flatMap((row, index) => row.map((code) => code * (index === 0 ? 0.5 : 3))),
    );
  });

  it("takes zero points down the rows, and each column's group from weight_g_idx", async () => {
    const codes = [
      [-8, 7, 0, 1],
      [3, -3, 5, -5],
    ];
    const zeroPoints = [
      [2, -2],
      [-8, 7],
    ];
    const scales = [
      [0.5, 2],
      [1, 4],
    ];
    const groups = [1, 0, 0, 1];
    const packedDown = Uint32Array.from([0, 1], (cell) => {
      return (
        packStream(
          zeroPoints.map((row) => row[cell] ?? 0),
          4,
          8,
        )[0] ?? 0
      );
    });
    const parts = [
      part(`${MODULE}.weight_packed`, "I32", [2, 1], packedRows(codes, 4)),
      part(
        `${MODULE}.weight_scale`,
        "BF16",
        [2, 2],
        narrowFromFloat32("BF16", Float32Array.from(scales.flat())),
      ),
      part(`${MODULE}.weight_zero_point`, "I32", [1, 2], packedDown),
      part(`${MODULE}.weight_g_idx`, "I32", [4], Int32Array.from(groups)),
    ];
    const weights = { num_bits: 4, symmetric: false, strategy: "group", group_size: 2, actorder: "group" };
    const { source, path } = await openDequantized(parts, configOf(weights), "compressed-tensors");
    const values = widenToFloat32("BF16", await source.read({ path, start: 0, end: 16 }));
    const expected = codes.flatMap((row, index) =>
      row.map((code, column) => {
        const group = groups[column] ?? 0;
        return (code - (zeroPoints[index]?.[group] ?? 0)) * (scales[index]?.[group] ?? 0);
      }),
    );
    expect([...values]).toEqual(expected);
  });

  it("is refused where tensors do not have the sizes that the scheme gives them", async () => {
    const opened = openDequantized(channelParts(200n), configOf(CHANNEL), "compressed-tensors");
    await expect(opened).rejects.toThrow(MalformedModelError);
    await expect(opened).rejects.toThrow(/up_proj: its codes, scales and zero points do not have the sizes/);
  });

  it("is refused where weights cannot be told apart", async () => {
    const ignoring = configOf(CHANNEL);
    const config_groups = {
      ...ignoring.quantization_config.config_groups,
      group_1: { targets: ["re:.*down_proj"], weights: { type: "int", ...CHANNEL } },
    };
    const quantization_config = { ...ignoring.quantization_config, config_groups, ignore: [MODULE] };
    await expect(
      openDequantized(channelParts(), { quantization_config }, "compressed-tensors"),
    ).rejects.toThrow(/up_proj\.weight_scale is stored, but config\.json does not target/);
  });

  it("reads an ignored module by the scheme of the only group, and says so", async () => {
    const { quantization_config } = configOf(CHANNEL);
    const config = { quantization_config: { ...quantization_config, ignore: [MODULE] } };
    const { dequantized } = await openDequantized(channelParts(), config, "compressed-tensors");
    expect(dequantized.modules.size).toBe(1);
    expect(dequantized.disagreements).toEqual([
      expect.stringContaining(`config.json does not target ${MODULE}, or ignores it`),
    ]);
  });
});

it("refuses models that another library quantized", async () => {
  const attempt = openDequantized([part("m.weight", "I8", [2, 2], new Int8Array(4))], {}, "gptq");
  await expect(attempt).rejects.toThrow(UnsupportedModelError);
  await expect(attempt).rejects.toThrow(/acme\/tiny is already quantized \(quant_method "gptq"\)/);
});
