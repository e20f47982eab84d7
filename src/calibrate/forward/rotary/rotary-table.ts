// Cosines and sines of every position, computed on the CPU and uploaded once a job.

import { openTogether } from "../../../disposal.ts";
import { rotaryVariants } from "../../../model/rotary.ts";
import type { Gpu } from "../../../gpu/gpu.ts";
import { bufferBytes, type LedgerBuffer } from "../../../gpu/memory.ts";
import type { UploadRing } from "../../../gpu/staging/upload-ring.ts";
import type { Rotary } from "../../../model/mixer-description.ts";

export interface RotaryTable extends Disposable {
  readonly buffer: LedgerBuffer;
  /** Sequences with more tokens use the table's second part, which starts at row `longRow`. */
  readonly beyond: number;
  readonly longRow: number;
}

/** GPU bytes of the table for sequences of up to `longest` tokens. */
export function rotaryTableBytes(rotary: Rotary, longest: number): number {
  return bufferBytes(rotaryVariants(rotary, longest).length * longest * rotary.dims * 4);
}

/** @throws CalibrationError if the model's rotary scaling does not allow sequences of that length. */
export async function createRotaryTable(
  gpu: Gpu,
  uploads: UploadRing,
  rotary: Rotary,
  longest: number,
): Promise<RotaryTable> {
  const variants = rotaryVariants(rotary, longest);
  const angles = rotaryAngles(rotary, longest);
  return await openTogether(async (parts) => {
    const request = { label: "rotary table", bytes: angles.byteLength };
    const buffer = parts.use(await gpu.memory.allocate(request));
    await uploads.write(new Uint8Array(angles.buffer), buffer);
    return { buffer, beyond: variants[1]?.beyond ?? 0xffffffff, longRow: longest };
  });
}

/** (variants · longest, dims / 2) pairs of cosine and sine, the angle rounded to float32 as transformers does. */
export function rotaryAngles(rotary: Rotary, longest: number): Float32Array<ArrayBuffer> {
  const variants = rotaryVariants(rotary, longest);
  const pairs = rotary.dims / 2;
  const angles = new Float32Array(variants.length * longest * rotary.dims);
  for (const [variant, { inverseFrequencies }] of variants.entries()) {
    for (let position = 0; position < longest; position++) {
      for (const [pair, frequency] of inverseFrequencies.entries()) {
        const angle = Math.fround(position * frequency);
        const at = 2 * ((variant * longest + position) * pairs + pair);
        angles[at] = Math.cos(angle) * rotary.attentionFactor;
        angles[at + 1] = Math.sin(angle) * rotary.attentionFactor;
      }
    }
  }
  return angles;
}
