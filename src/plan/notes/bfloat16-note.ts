// What compressed-tensors makes of floats of a few bits that share E4M3 or E8M0 scales: bfloat16, whatever the model's dtype
// (`compressors/nvfp4/helpers.py`, `compressors/mx_utils.py`), which a model in float16 or float32 cannot multiply by.

import type { ServerNote } from "../../api/compressor-api.ts";
import type { FloatDtype } from "../../formats/numbers/dtype.ts";
import { scaleStorage } from "../../formats/schemes/compression-format.ts";
import type { QuantizationArgs } from "../../formats/schemes/quantization-args.ts";
import { TRANSFORMERS } from "../../model/linear-classes.ts";

/** A Linear that is quantized; `dtype` is its weight's in the source. */
export interface ReadModule {
  readonly module: string;
  readonly dtype: FloatDtype;
  readonly weights: QuantizationArgs;
}

/** That transformers has to be told a dtype for this plan's result, where it has. */
export function bfloat16Notes(quantized: readonly ReadModule[]): ServerNote[] {
  const read = quantized.filter(
    ({ dtype, weights }) => dtype !== "BF16" && scaleStorage(weights) !== "dtype",
  );
  const [first] = read;
  if (!first) return [];
  return [
    {
      server: "transformers",
      modules: read.map(({ module }) => module),
      ignore: [],
      sentence: `transformers ${TRANSFORMERS} runs this result with dtype=torch.bfloat16 alone: it makes bfloat16 of such weights (${first.module}, …), and the model is ${first.dtype === "F16" ? "float16" : "float32"}. Servers have kernels of their own.`,
    },
  ];
}
