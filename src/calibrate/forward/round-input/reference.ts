import { roundHalfToEven } from "../../../formats/numbers/dtype.ts";
import { e4m3ToNumber, numberToE4m3 } from "../../../formats/numbers/fp8.ts";
import type { InputRounding } from "./round-input.ts";

const LEAST_SCALE = Math.fround(1.1920929e-7);

/** One run of values that share a scale, in float32: the plain version that the kernel is held against. */
export function referenceRoundInput(
  { num_bits, type, symmetric }: InputRounding["args"],
  measured: number | null,
  run: readonly number[],
): number[] {
  const half = 2 ** (num_bits - 1);
  const [least, largest] = [Math.min(0, ...run), Math.max(0, ...run)];
  const steps = type === "float" ? 896 : 2 * half - 1;
  const span = symmetric ? 2 * Math.max(-least, largest) : Math.fround(largest - least);
  const scale = measured ?? Math.max(Math.fround(span / steps), LEAST_SCALE);
  const clip = (code: number) => Math.min(Math.max(code, -half), half - 1);
  const zero =
    symmetric || measured !== null
      ? 0
      : clip(roundHalfToEven(Math.fround(-half - Math.fround(least / scale))));
  return run.map((value) => {
    const scaled = Math.fround(value / scale);
    if (type === "float") {
      const code = numberToE4m3(Math.min(Math.max(scaled, -448), 448));
      return Math.fround(e4m3ToNumber(code) * scale);
    }
    return Math.fround((clip(roundHalfToEven(Math.fround(scaled + zero))) - zero) * scale);
  });
}
