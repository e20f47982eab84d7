import { describe, expect, it } from "vitest";
import type { JobOptions } from "../../api/job-options.ts";
import { invariant } from "../../errors.ts";
import { planFixture } from "../../testing/jobs/plan-fixture.ts";
import { partCosts } from "./part-costs.ts";

const GPTQ = { name: "GPTQModifier", dampening_frac: 0.01, actorder: "static" } as const;

/** A calibrated fixture whose layers come in no time, with forward products on what there is, or on none but float32. */
async function planned(
  products: NonNullable<JobOptions["calibration"]>["forward_products"],
  model = "llama",
  ignore = ["lm_head"],
) {
  const { plan } = await planFixture(model, "W8A8", GPTQ, { propagateError: false, ignore });
  const { calibration, steps } = plan;
  invariant(calibration, "GPTQ calibrates");
  const options = { ...calibration.options, forward_products: products };
  return {
    ...plan,
    calibration: { ...calibration, options },
    steps: steps.map((step) => ({ ...step, bytes: 0 })),
  };
}

describe("partCosts", () => {
  it("tells a layer apart from the last of a range, and from one that samples only pass", async () => {
    const plan = await planned("F32");
    const costs = partCosts(plan, false);
    const [first, last] = costs.layers;
    const layer = plan.steps.find(({ name }) => name === first?.name)?.calibrated;
    invariant(first && last && layer, "the fixture has two layers");
    const { work, lastWork, passingWork } = layer;
    // Samples leave it while it collects.
    expect(work).toMatchObject({ propagating: 0, quantizing: lastWork.quantizing });
    expect(first.passedSeconds).toBeCloseTo(passingWork / 35e12, 15);
    expect(first.seconds - first.lastSeconds).toBeCloseTo(
      (work.calibrating - lastWork.calibrating) / 41e12,
      15,
    );
    expect(last.seconds).toBe(last.lastSeconds);
    expect(last.passedSeconds).toBe(first.passedSeconds);
    expect(costs).toMatchObject({ batches: 2, dependence: null, shares: 2, statesBytes: 2 * 24 * 64 * 4 });
  });

  it("counts a head that is calibrated with the last layer, and no bytes of it elsewhere", async () => {
    const [ignored, asked] = [
      await planned("F32", "mistral-sliding", ["lm_head"]),
      await planned("F32", "mistral-sliding", []),
    ];
    const [without, costs] = [ignored, asked].map((plan) => partCosts(plan, false));
    const [first, last] = costs?.layers ?? [];
    const head = asked.steps.at(-1)?.calibrated;
    invariant(first && last && head, "the model has a head of its own");
    const seconds = head.work.calibrating / 41e12 + head.work.quantizing / 6e12;
    expect(last.lastSeconds).toBeCloseTo(first.seconds + seconds, 15);
    expect(last.operations).toBe(first.operations + head.work.calibrating + head.work.quantizing);
    expect(first).toEqual(without?.layers[0]);
  });

  it("counts matrix units where forward products may run on them", async () => {
    const [float32, any] = [await planned("F32"), await planned("AUTO")];
    const passed = (plan: typeof any, hasUnits: boolean) =>
      partCosts(plan, hasUnits).layers[0]?.passedSeconds;
    expect(passed(any, true)).toBeLessThan(passed(any, false) ?? 0);
    expect(passed(float32, true)).toBe(passed(float32, false));
  });

  it("takes as long as a layer comes where that is longer, also for samples that only pass", async () => {
    const plan = await planned("AUTO");
    const slow = { ...plan, steps: plan.steps.map((step) => ({ ...step, bytes: 600e6 })) };
    expect(partCosts(slow, true).layers[0]).toMatchObject({ seconds: 2, lastSeconds: 2, passedSeconds: 2 });
    const { plan: streamed } = await planFixture("llama", "W8A8", { name: "QuantizationModifier" });
    const [layer] = partCosts(streamed, true).layers;
    expect(layer).toMatchObject({ operations: 0, passedSeconds: 0, seconds: (layer?.bytes ?? 0) / 300e6 });
  });
});
