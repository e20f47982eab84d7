import { expect, it } from "vitest";
import { invariant } from "../../errors.ts";
import { planFixture } from "../../testing/jobs/plan-fixture.ts";
import { takeShare } from "./take-share.ts";

const GPTQ = { name: "GPTQModifier", dampening_frac: 0.01, actorder: "static" } as const;
const ROUNDING = { name: "QuantizationModifier" } as const;

const share = (index: number, of: number) => ({ index, of, exchange: "" });

it("says whether fewer shares help, or more samples too", async () => {
  const asked = async (of: number) => await planFixture("llama", "W8A8", GPTQ, { share: share(0, of) });
  await expect(asked(3)).rejects.toThrow(
    "The samples are too few for 3 shares, and make 2 at most: ask for fewer shares, or calibrate with more samples.",
  );
  const { plan } = await asked(1);
  const { calibration } = plan;
  invariant(calibration, "GPTQ calibrates");
  const places = Array.from({ length: 8 }, (_, at) => at);
  const batches = places.map((at) => ({ first: at, starts: [0, 4], tokens: 4, firstToken: 4 * at }));
  const eight = { ...calibration, chunkAt: places, plan: { ...calibration.plan, batches } };
  await expect(takeShare({ ...plan, calibration: eight }, share(0, 9), null)).rejects.toThrow(
    /^Samples are cut into 8 shares at most, not 9: ask for fewer shares\.$/,
  );
});

it("offers ranges of layers only where the recipe has them", async () => {
  const rewritten = planFixture("llama", "W8A8", GPTQ, { share: share(0, 2), rewriter: "AWQModifier" });
  await expect(rewritten).rejects.toThrow(/they do GPTQ alone\. Compress the model in one job\.$/);
  const measured = planFixture("llama", "FP8", ROUNDING, {
    share: share(0, 2),
    yaml: "s_stage: {q_modifiers: {QuantizationModifier: {targets: [Linear], scheme: FP8, ignore: [lm_head]}}}",
  });
  await expect(measured).rejects.toThrow(/measures ranges of activations, .*, or divide it with --layers\.$/);
});
