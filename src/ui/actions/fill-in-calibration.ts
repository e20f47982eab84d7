import type { CalibrationRequest } from "../../api/script-api.ts";
import type { CalibrationFields } from "../state/fields/calibration-fields.ts";

/**
 * Sets the controls to what a script or a link asks for.
 * @param file the file of a request that has not its text
 */
export function fillInCalibration(
  fields: CalibrationFields,
  asked: CalibrationRequest,
  file: File | null,
): void {
  if (asked.file) {
    fields.source.value = "file";
    fields.file.value = file ?? new File([asked.file.text ?? ""], asked.file.name);
    fields.fileColumn.value = asked.file.column ?? "";
  } else if (asked.dataset) {
    const { name, config, split, column } = asked.dataset;
    fields.source.value = "dataset";
    fields.dataset.value = { name, config: config ?? "", split, column: column ?? "" };
  }
  if (asked.samples !== null) fields.samples.value = String(asked.samples);
  if (asked.maxSeqLength !== null) fields.maxSeqLength.value = String(asked.maxSeqLength);
  if (asked.seed !== null) fields.seed.value = String(asked.seed);
  fields.shuffle.value = asked.shuffle;
  fields.propagateError.value = asked.propagateError;
  fields.allExperts.value = asked.allExperts;
  if (asked.minExpertTokens !== null) fields.minExpertTokens.value = String(asked.minExpertTokens);
  fields.hiddenStatesDtype.value = asked.hiddenStates;
  fields.forwardProducts.value = asked.forwardProducts;
}
