// `--target-size` and `--target-bits`: what is wanted of a result's weights, and the curve that it is chosen from, in lines.

import type { MixedRecipe, SchemeSurvey, SurveyPoint } from "../../../src/api/scheme-survey.ts";
import type { ResultFit } from "../../../src/api/compressor-api.ts";
import { RecipeError } from "../../../src/errors.ts";
import { formatBytes, parseBytes } from "../../../src/formats/text/format-bytes.ts";
import { UsageError } from "./argument-readers.ts";

/** Bytes of the weights' files, or bits of a weight on average. */
export type WantedSize =
  | { readonly kind: "bytes"; readonly bytes: number }
  | { readonly kind: "bits"; readonly bits: number };

interface SizeValues {
  readonly "target-size"?: string | undefined;
  readonly "target-bits"?: string | undefined;
}

const LINES = 9;

/** @throws UsageError if it is no size */
export function readWantedSize(values: SizeValues): WantedSize | null {
  const { "target-size": size, "target-bits": bits } = values;
  if (size !== undefined && bits !== undefined)
    throw new UsageError("--target-size and --target-bits say the same in two ways. Leave one of both out.");
  if (size !== undefined) {
    const bytes = parseBytes(size);
    if (bytes === null) throw new UsageError(`--target-size ${size} is not an amount such as 5GB or 700MiB.`);
    return { kind: "bytes", bytes };
  }
  if (bits === undefined) return null;
  const wanted = Number(bits);
  if (!(wanted > 0 && wanted <= 32))
    throw new UsageError(`--target-bits ${bits} is not a number of bits such as 4.5.`);
  return { kind: "bits", bits: wanted };
}

/** Who asks for 4.125 bits means groups of 128: what is stored of shapes, some bytes a module, is left to the measurement to refuse. */
const LEAST_SHARE = 0.99;

/**
 * The plans of the schemes tell the least size before anything is measured, which takes hours for a large model.
 * @param results of the schemes, each for the whole model
 * @throws RecipeError if the size that is wanted is smaller
 */
export function checkReachable(
  results: readonly Pick<ResultFit, "resultBytes" | "bitsPerWeight">[],
  wanted: WantedSize,
): void {
  const bytes = Math.min(...results.map(({ resultBytes }) => resultBytes));
  const bits = Math.min(...results.map(({ bitsPerWeight }) => bitsPerWeight));
  if (wanted.kind === "bytes" ? wanted.bytes >= bytes : wanted.bits >= bits * LEAST_SHARE) return;
  const asked = wanted.kind === "bytes" ? formatBytes(wanted.bytes) : `${wanted.bits} bits of a weight`;
  throw new RecipeError(
    `${asked} cannot be reached: with the smallest of these schemes the weights take ${formatBytes(bytes)}, ${bits.toFixed(2)} bits each. Ask for more, or name recipes of fewer bits.`,
  );
}

/** Size and bits grow together, by the bytes of the weights that have a scheme. */
export function wantedBytes({ curve }: SchemeSurvey, wanted: WantedSize): number {
  if (wanted.kind === "bytes") return wanted.bytes;
  const [first, last] = [curve[0], curve.at(-1)];
  if (!first || !last || last.bitsPerWeight === first.bitsPerWeight) return first?.resultBytes ?? 0;
  const bytesPerBit = (last.resultBytes - first.resultBytes) / (last.bitsPerWeight - first.bitsPerWeight);
  return Math.floor(first.resultBytes + (wanted.bits - first.bitsPerWeight) * bytesPerBit);
}

/** A few points of the curve, and the chosen one. */
export function curveLines({ schemes, curve }: SchemeSurvey, chosen: MixedRecipe): string[] {
  const points = Array.from({ length: Math.min(LINES, curve.length) }, (_, index) =>
    curve.at(Math.round((index * (curve.length - 1)) / Math.max(LINES - 1, 1))),
  );
  const counts = schemes.map((scheme, index) => `${chosen.counts[index] ?? 0} ${scheme}`);
  return [
    "Size against the expected change of the last hidden states:",
    ...points.filter((point) => point !== undefined).map(pointLine),
    `Chosen: ${pointLine(chosen).trim()}; modules: ${counts.join(", ")}.`,
  ];
}

function pointLine({ resultBytes, bitsPerWeight, loss }: SurveyPoint): string {
  return `${formatBytes(resultBytes).padStart(12)} ${bitsPerWeight.toFixed(2).padStart(6)} bits ${(100 * loss).toPrecision(3)} %`;
}
