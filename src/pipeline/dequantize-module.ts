// A quantized Linear of a compressed-tensors folder, read back whole.

import { MalformedModelError } from "../errors.ts";
import { codesTensor, dequantizeRows, type QuantizedWeight, rowRanges } from "../formats/dequantize.ts";
import { type FloatDtype, isFloatDtype } from "../formats/dtype.ts";
import type { TensorSpec } from "../formats/safetensors.ts";
import type { QuantizedModule } from "../plan/quantized-modules.ts";

/**
 * The weight that a module's codes mean, (rows, columns) float32, rounded to the dtype of its scales; `dtype` is the
 * model's, for formats whose scales have a dtype of their own.
 * @throws MalformedModelError if the shapes of its tensors do not belong together.
 */
export async function dequantizeModule<Tensor extends TensorSpec>(
  found: QuantizedModule<Tensor>,
  dtype: FloatDtype,
  read: (tensor: Tensor) => Promise<Uint8Array<ArrayBuffer>>,
): Promise<Float32Array<ArrayBuffer>> {
  const part = async (name: string) => {
    const tensor = found.parts.get(name);
    return tensor ? await read(tensor) : null;
  };
  const weight = describeWeight(found, dtype, await part("weight_shape"));
  const codes = (await part(codesTensor(weight))) ?? new Uint8Array();
  const scales = (await part("weight_scale")) ?? new Uint8Array();
  const zeroPoints = weight.args.symmetric ? null : await part("weight_zero_point");
  checkBytes(found, weight, { codes, scales, zeroPoints });
  const globalScale = await part("weight_global_scale");
  const groupIndex = await part("weight_g_idx");
  return dequantizeRows(weight, 0, weight.rows, {
    codes,
    scales,
    zeroPoints,
    globalScale: globalScale ? (new Float32Array(globalScale.buffer)[0] ?? Number.NaN) : null,
    groupIndex: groupIndex ? new Int32Array(groupIndex.buffer) : null,
  });
}

function describeWeight(
  { args, format, parts }: QuantizedModule,
  modelDtype: FloatDtype,
  storedShape: Uint8Array<ArrayBuffer> | null,
): QuantizedWeight {
  const [rows = 0, width = 0] = parts.get(codesTensor({ args, format }))?.shape ?? [];
  const [, shapeColumns] = storedShape ? new BigInt64Array(storedShape.buffer) : [];
  const fp4 = args.type === "float" && args.num_bits === 4;
  const scale = parts.get("weight_scale")?.dtype;
  const dtype = scale && isFloatDtype(scale) ? scale : modelDtype;
  const columns = shapeColumns === undefined ? width * (fp4 ? 2 : 1) : Number(shapeColumns);
  return { args, format, dtype, rows, columns };
}

/** The tensors must be as long as shape and scheme say, or what is read would be another weight's. */
function checkBytes(
  { module, args }: QuantizedModule,
  weight: QuantizedWeight,
  parts: { readonly codes: Uint8Array; readonly scales: Uint8Array; readonly zeroPoints: Uint8Array | null },
): void {
  const ranges = rowRanges(weight, 0, weight.rows);
  const fits =
    parts.codes.byteLength === ranges.codes.end &&
    parts.scales.byteLength === ranges.scales.end &&
    (parts.zeroPoints?.byteLength ?? 0) === (ranges.zeroPoints?.end ?? 0);
  if (fits) return;
  throw new MalformedModelError(
    `${module}: its codes, scales and zero points do not have the sizes of a weight [${weight.rows}, ${weight.columns}] with the strategy "${args.strategy}".`,
  );
}
