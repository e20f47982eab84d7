import { expect, it } from "vitest";
import { MIB, planFor } from "../../testing/layers/small-layer.ts";
import { planCalibration } from "./fit-calibration.ts";

const STATIC =
  "config_groups: {g: {targets: [Linear], weights: {num_bits: 8, type: int}, input_activations: {num_bits: 8, type: int, dynamic: false}}}";

/** What is said where a layer's job has no room, with samples of these lengths. */
function refusal(lengths: readonly number[], layer: Partial<Parameters<typeof planFor>[0]> = {}): string {
  const { layers, plan } = planFor({ experts: 0, budgetBytes: 64 * MIB, ...layer }, "");
  const demand = { layers, lengths, hidden: plan.hidden, maxTokens: null, like: null };
  try {
    planCalibration(demand, { budgetBytes: 1024, maxBufferBytes: 128 * MIB });
  } catch (error) {
    return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  }
  return "nothing";
}

it("says what takes the most of a budget that is too small, and what would help", () => {
  const many = (length: number) => Array.from({ length: 256 }, () => length);
  expect(refusal(many(2048))).toBe(
    "DeviceLimitError: The GPU budget leaves 1 KiB to the layers, which is too small to calibrate this model: the largest Hessian alone (128 inputs) takes 64 KiB, and at least 2048 tokens are at work at a time. Choose a larger budget, a smaller max_seq_length, or a data-free recipe.",
  );
  // Shorter samples would not help: as many of them are a unit.
  expect(refusal(many(64))).toMatch(
    /at least 1024 tokens are at work at a time\. Choose a larger budget, fewer samples \(less than 8192 tokens in all\), or a data-free recipe\.$/,
  );
  expect(refusal(many(2048), { quantizer: "QuantizationModifier", scheme: STATIC })).toMatch(
    /too small to calibrate this model: at least 2048 tokens are at work at a time\./,
  );
});
