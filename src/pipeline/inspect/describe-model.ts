// What inspection says of a model that calibration does not understand, or whose files are not whole.

import { MalformedModelError, UnsupportedModelError } from "../../errors.ts";
import { checkShapes } from "../../model/check-tensors.ts";
import { describeDecoder, lackedTensors } from "../../model/describe-decoder.ts";
import type { ModelConfig } from "../../plan/checkpoint/read-config.ts";
import type { SourceTensor } from "../../plan/checkpoint/read-headers.ts";

/** What config.json and the headers say. */
export interface ReadModel {
  readonly config: ModelConfig;
  readonly tensors: readonly SourceTensor[];
}

/** Why recipes that calibrate are out, naming the field or tensor that is not understood; null if they are not. */
export function calibrationNote({ config, tensors }: ReadModel): string | null {
  try {
    const description = describeDecoder(
      config.raw,
      tensors.map(({ name }) => name),
    );
    checkShapes(description, tensors);
    return null;
  } catch (error) {
    if (error instanceof UnsupportedModelError || error instanceof MalformedModelError) return error.message;
    throw error;
  }
}

const SHOWN = 3;

/** A sentence on tensors that the files lack by config.json, which no loader refuses; null if they are not known to lack any. */
export function lackingNote({ config, tensors }: ReadModel): string | null {
  const lacked = lackedTensors(
    config.raw,
    tensors.map(({ name }) => name),
  );
  if (lacked.length === 0) return null;
  const more = lacked.length > SHOWN ? ` and ${lacked.length - SHOWN} more tensors` : "";
  return `The files lack ${lacked.slice(0, SHOWN).join(", ")}${more}, which a model with this config.json has. Loaders fill such gaps with random numbers, in the result as in the source: look whether a file is missing, or whether config.json is of another model.`;
}
