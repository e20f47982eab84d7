// What inspection says of a model that calibration does not understand.

import { MalformedModelError, UnsupportedModelError } from "../../errors.ts";
import { checkShapes } from "../../model/check-tensors.ts";
import { describeDecoder } from "../../model/describe-decoder.ts";
import type { ModelConfig } from "../../plan/read-config.ts";
import type { SourceTensor } from "../../plan/read-headers.ts";

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
