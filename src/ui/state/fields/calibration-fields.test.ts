import { describe, expect, it } from "vitest";
import {
  calibrationChoice,
  calibrationProblem,
  createCalibrationFields,
  restoreCalibration,
  suggestCalibration,
} from "./calibration-fields.ts";
import { MODEL } from "../../testing/fake-services.ts";
import type { CalibrationOptions } from "../../../api/job-options.ts";

const TOY = {
  ...MODEL,
  parameters: 3_700_000,
  source: { ...MODEL.source, host: "example.org", files: [{ path: "calibration.txt", bytes: 150_000 }] },
};

function fieldsFor(model = MODEL) {
  const fields = createCalibrationFields();
  suggestCalibration(fields, model);
  return fields;
}

describe("the suggested calibration", () => {
  it("is LLM Compressor's usual one for a model of the Hub", () => {
    expect(calibrationChoice(fieldsFor())).toEqual({
      source: {
        kind: "dataset",
        name: "HuggingFaceH4/ultrachat_200k",
        config: null,
        split: "train_sft",
        column: "messages",
      },
      num_calibration_samples: 512,
      max_seq_length: 2048,
      shuffle_calibration_samples: true,
      seed: 42,
      hidden_states_dtype: "F32",
      forward_products: "AUTO",
      propagate_error: true,
      moe_calibrate_all_experts: true,
      moe_min_tokens_per_expert: 64,
    });
  });

  it("is the model's own text where there is one, and little of it for a toy", () => {
    expect(calibrationChoice(fieldsFor(TOY))).toMatchObject({
      source: { kind: "model" },
      num_calibration_samples: 32,
      max_seq_length: 256,
    });
  });

  it("asks for a file where the model is not on the Hub, and keeps one that was chosen", () => {
    const fields = fieldsFor({ ...MODEL, source: { ...MODEL.source, host: null } });
    expect(calibrationProblem(fields)).toMatch(/Choose a file/);
    fields.file.value = new File(["text"], "tales.txt");
    suggestCalibration(fields, MODEL);
    expect(calibrationProblem(fields)).toBeNull();
    expect(calibrationChoice(fields)?.source.kind).toBe("file");
  });
});

it("takes the address of a data set's page for its name", () => {
  const fields = fieldsFor();
  const name = "https://huggingface.co/datasets/org/tales/";
  fields.dataset.value = { name, config: " en ", split: "train", column: "" };
  expect(calibrationChoice(fields)?.source).toEqual({
    kind: "dataset",
    name: "org/tales",
    config: "en",
    split: "train",
    column: null,
  });
});

it.each([
  ["samples", "0", /num_calibration_samples has to be a whole number from 1/],
  ["samples", "1.5", /num_calibration_samples/],
  ["maxSeqLength", "", /max_seq_length has to be/],
  ["seed", "-1", /seed has to be/],
] as const)("names the option that cannot be read: %s %j", (field, typed, sentence) => {
  const fields = fieldsFor();
  fields[field].value = typed;
  expect(calibrationProblem(fields)).toMatch(sentence);
  expect(calibrationChoice(fields)).toBeNull();
});

it("names a data set that has no split", () => {
  const fields = fieldsFor();
  fields.dataset.value = { name: "org/tales", config: "", split: " ", column: "" };
  expect(calibrationProblem(fields)).toMatch(/Name a data set and its split/);
});

it.each<CalibrationOptions["source"]>([
  { kind: "model" },
  { kind: "stored", jobId: "3f6c" },
  { kind: "file", file: new File(["text"], "tales.txt"), column: "story" },
  { kind: "dataset", name: "org/tales", config: "en", split: "test", column: null },
])("restores what an earlier job calibrated with: $kind", (source) => {
  const options: CalibrationOptions = {
    source,
    num_calibration_samples: 9,
    max_seq_length: 77,
    shuffle_calibration_samples: false,
    seed: 5,
    hidden_states_dtype: "BF16",
    forward_products: "AUTO",
    propagate_error: false,
    moe_calibrate_all_experts: false,
    moe_min_tokens_per_expert: 32,
  };
  const fields = createCalibrationFields();
  restoreCalibration(fields, options);
  expect(calibrationChoice(fields)).toEqual(options);
});
