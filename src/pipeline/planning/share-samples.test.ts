import { expect, it } from "vitest";
import { planFixture } from "../../testing/jobs/plan-fixture.ts";
import { shareSamples } from "./share-samples.ts";

it("cuts samples between batches: shares hold each batch once, in order", async () => {
  const { plan } = await planFixture("llama", "W8A8", {
    name: "GPTQModifier",
    dampening_frac: 0.01,
    actorder: "static",
  });
  const { calibration } = plan;
  if (!calibration) throw new Error("GPTQ calibrates");
  const tokens = [5, 9, 1, 7, 3];
  const batches = tokens.map((own, at) => {
    const firstToken = tokens.slice(0, at).reduce((sum, each) => sum + each, 0);
    return { first: at, starts: [0, own], tokens: own, firstToken };
  });
  const job = { ...calibration, plan: { ...calibration.plan, batches, hiddenBytes: 250 } };
  for (const of of [1, 2, 3, 5]) {
    const shares = Array.from({ length: of }, (_, index) => shareSamples(job, { index, of }));
    const joined = shares.flatMap(({ calibration: { plan: own }, firstToken }) =>
      own.batches.map((batch) => ({ ...batch, firstToken: batch.firstToken + firstToken })),
    );
    expect(joined).toEqual(batches);
    expect(shares.reduce((sum, { portion }) => sum + portion, 0)).toBeCloseTo(1);
    expect(shares.reduce((sum, own) => sum + own.calibration.plan.hiddenBytes, 0)).toBeCloseTo(250);
    for (const { calibration: own } of shares) expect(own.plan.batches[0]?.firstToken).toBe(0);
  }
  expect(() => shareSamples(job, { index: 0, of: 6 })).toThrow(/Ask for 5 at most/);
});
