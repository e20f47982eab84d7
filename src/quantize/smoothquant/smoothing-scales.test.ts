import { describe, expect, it } from "vitest";
import { narrowFromFloat32 } from "../../formats/numbers/dtype.ts";
import { SMOOTHQUANT_SETTINGS } from "../../formats/modifiers/smoothquant.ts";
import { raiseColumnMagnitudes, smoothingScales } from "./smoothing-scales.ts";

const INPUT = {
  dtype: "BF16",
  low: Float32Array.of(-3.2, 0.25, -0.01, 0),
  high: Float32Array.of(4.1, 7, 0.02, 0),
  weights: Float32Array.of(0.042724609375, 0.5, 0, 0.125),
} as const;

describe("SmoothQuant's scales", () => {
  it("are those of torch on the CPU, in bfloat16", () => {
    const scales = smoothingScales(INPUT, { smoothing_strength: 0.8, algorithm: "smoothquant" });
    expect([...scales]).toEqual([8.0625, 4.625, 0.030029296875, 9.999999747378752e-6]);
  });

  it("look at activations alone to equalize them by logarithms", () => {
    const scales = smoothingScales(INPUT, { ...SMOOTHQUANT_SETTINGS, algorithm: "log_equalization" });
    expect([...scales]).toEqual([2.265625, 2.15625, 0.029296875, 9.999999747378752e-6]);
  });

  it.each(["BF16", "F16", "F32"] as const)(
    "take the largest %s of each column over several weights",
    (dtype) => {
      const most = new Float32Array(3);
      raiseColumnMagnitudes(dtype, narrowFromFloat32(dtype, Float32Array.of(1, -4, 0.5, -2, 3, 0.25)), most);
      raiseColumnMagnitudes(dtype, narrowFromFloat32(dtype, Float32Array.of(-1.5, 2, -8)), most);
      expect([...most]).toEqual([2, 4, 8]);
    },
  );
});
