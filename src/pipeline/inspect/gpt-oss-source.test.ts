import { describe, expect, it } from "vitest";
import { widenToFloat32 } from "../../formats/numbers/dtype.ts";
import { e2m1ToNumber } from "../../formats/numbers/fp4.ts";
import { transposingSource } from "./transposing-source.ts";

import { openDequantized, part } from "../../testing/sources/open-dequantized.ts";

describe("experts of gpt-oss", () => {
  const [experts, outputs, inputs] = [2, 6, 64];
  const blocks = Uint8Array.from(
    { length: experts * outputs * (inputs / 2) },
    (_, index) => (index * 73) % 256,
  );
  const scales = Uint8Array.from({ length: experts * outputs * 2 }, (_, index) => 120 + (index % 11));
  const parts = [
    part("m.experts.down_proj_bias", "BF16", [experts, outputs], new Uint16Array(experts * outputs)),
    part("m.experts.down_proj_blocks", "U8", [experts, outputs, 2, 16], blocks),
    part("m.experts.down_proj_scales", "U8", [experts, outputs, 2], scales),
  ];

  // transformers' convert_moe_packed_tensors: low nibble first, a power of two for 32 inputs, then inputs before outputs.
  it("are one tensor of all, inputs before outputs", async () => {
    const { dequantized, source } = await openDequantized(parts, {}, "mxfp4");
    const tensor = dequantized.tensors.find(({ name }) => name === "m.experts.down_proj");
    expect(tensor).toMatchObject({ dtype: "BF16", shape: [experts, inputs, outputs] });
    expect(dequantized.tensors.map(({ name }) => name)).toEqual([
      "m.experts.down_proj_bias",
      "m.experts.down_proj",
    ]);
    const turned = transposingSource(source, dequantized.transposed);
    const path = tensor?.file ?? "";
    const bytes = await turned.read({ path, start: 0, end: tensor?.end ?? 0 });
    const expected = Array.from({ length: experts * inputs * outputs }, (_, index) => {
      const [expert, rest] = [Math.floor(index / (inputs * outputs)), index % (inputs * outputs)];
      const [input, output] = [Math.floor(rest / outputs), rest % outputs];
      const row = expert * outputs + output;
      const byte = blocks[row * (inputs / 2) + (input >> 1)] ?? 0;
      const exponent = (scales[row * 2 + (input >> 5)] ?? 0) - 127;
      return e2m1ToNumber(input % 2 === 0 ? byte & 15 : byte >> 4) * 2 ** exponent;
    });
    expect([...widenToFloat32("BF16", bytes)]).toEqual(expected);
    const middle = inputs * outputs * 2;
    const across = await turned.read({ path, start: middle - 26, end: middle + 34 });
    expect(across).toEqual(bytes.slice(middle - 26, middle + 34));
  });

  it("are refused where scales and blocks do not belong together", async () => {
    const [bias, codes] = parts;
    const attempt = openDequantized(bias && codes ? [bias, codes] : [], {}, "mxfp4");
    await expect(attempt).rejects.toThrow(
      /down_proj_blocks is U8 \[2, 6, 2, 16\], and its scales are missing/,
    );
  });
});
