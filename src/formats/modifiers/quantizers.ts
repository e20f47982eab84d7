import { GPTQ } from "./gptq.ts";
import { ROUNDING } from "./rounding.ts";

/** All modifiers that choose codes. */
export const QUANTIZERS = [ROUNDING, GPTQ] as const;

export type Quantizer = (typeof QUANTIZERS)[number];
export type QuantizerName = Quantizer["name"];

export function quantizerOf(name: QuantizerName): Quantizer {
  return QUANTIZERS.find((quantizer) => quantizer.name === name) ?? ROUNDING;
}
