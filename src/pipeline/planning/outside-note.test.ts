import { expect, it } from "vitest";
import { readConfig } from "../../plan/checkpoint/read-config.ts";
import { loadCheckpoint } from "../../testing/fixtures/load-checkpoint.ts";
import type { CalibrationJob } from "../calibration/plan-calibrated-layers.ts";
import type { OpenModel } from "../inspect/open-model.ts";
import { outsideNotes } from "./outside-note.ts";
import { planJob } from "./plan-job.ts";
import type { PlannedStep } from "./planned-step.ts";

const CALIBRATION = {} as unknown as CalibrationJob;
const LAYER = {} as unknown as NonNullable<PlannedStep["calibrated"]>;

/** What is said of a model with a head of its own, whose samples come to the steps of these names. */
async function notes(
  modifier: string,
  calibration: CalibrationJob | null = CALIBRATION,
  comesTo = /layers\.\d+$/,
) {
  const { config, tensors } = loadCheckpoint("mixtral");
  const known = {
    config: readConfig(new TextEncoder().encode(JSON.stringify(config))),
    tensors,
    unsplit: tensors,
  };
  const model = {
    ...known,
    source: { key: "m" },
    dequantized: new Map(),
    summary: {},
  } as unknown as OpenModel;
  const recipe = { kind: "yaml", text: `q_stage: {q_modifiers: {${modifier}}}` } as const;
  const { steps } = await planJob(model, {
    recipe,
    gpuBudgetBytes: 2 ** 28,
    keepSource: false,
    calibration: null,
  });
  const calibrated = steps.map((step) => (comesTo.test(step.name) ? { ...step, calibrated: LAYER } : step));
  return outsideNotes({ steps: calibrated, calibration });
}

it("what GPTQ is asked for, and no samples come to, is said to be rounded to nearest", async () => {
  expect(await notes("GPTQModifier: {scheme: W8A8}")).toEqual([
    expect.stringMatching(/^lm_head is rounded to nearest: .* Add it to ignore/),
  ]);
  expect(await notes("QuantizationModifier: {scheme: W8A8, refine: {rounds: 1}}")).toHaveLength(1);
});

it.each([
  "GPTQModifier: {scheme: W8A8, ignore: [lm_head]}",
  "QuantizationModifier: {scheme: W8A8}",
  "GPTQModifier: {scheme: W8A8, ignore: [lm_head]}, QuantizationModifier: {scheme: W8A8, targets: [lm_head]}",
])("nothing is said where the recipe asks for no more: %s", async (modifier) => {
  expect(await notes(modifier)).toEqual([]);
});

it("nothing is said of a head that samples come to", async () => {
  expect(await notes("GPTQModifier: {scheme: W8A8}", CALIBRATION, /layers/)).toEqual([]);
});

it("nothing is said of a job without a text", async () => {
  expect(await notes("GPTQModifier: {scheme: W8A8}", null)).toEqual([]);
});
