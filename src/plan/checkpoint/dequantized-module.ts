// A weight that is stored quantized and read as a plain one.

import type { QuantizedWeight } from "../../formats/weights/dequantize.ts";
import type { FloatDtype } from "../../formats/numbers/dtype.ts";
import type { QuantizedModule } from "./quantized-modules.ts";
import type { SourceTensor } from "./read-headers.ts";

export interface DequantizedModule {
  readonly weight: QuantizedWeight;
  /** Dtype that the weight is read as. */
  readonly dtype: FloatDtype;
  readonly found: QuantizedModule<SourceTensor>;
}
