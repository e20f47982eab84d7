import { afterEach, describe, expect, it } from "vitest";
import { type MeasuredRecipe, openMeasurementStore } from "./measurement-store.ts";
import { QUALITY } from "../../testing/fake-evaluator.ts";

const NAME = "layerpress-measurement-test";
const store = openMeasurementStore(NAME);

function measured(own: Partial<MeasuredRecipe>): MeasuredRecipe {
  const recipe = { jobId: "a", model: "tiny", recipe: "W4A16", seconds: 1, measuredAt: 1, report: QUALITY };
  return { ...recipe, ...own };
}

afterEach(async () => {
  for (const { model } of await store.list()) await store.deleteModel(model);
});

describe("what was measured", () => {
  it("is there in a later visit, the oldest first", async () => {
    await store.keep(measured({ jobId: "b", measuredAt: 7 }));
    await store.keep(measured({ jobId: "a", measuredAt: 3 }));
    const later = await openMeasurementStore(NAME).list();
    expect(later).toEqual([measured({ jobId: "a", measuredAt: 3 }), measured({ jobId: "b", measuredAt: 7 })]);
  });

  it("is replaced when the same result is measured on the same text again", async () => {
    await store.keep(measured({}));
    await store.keep(measured({ measuredAt: 2 }));
    await store.keep(measured({ measuredAt: 3, report: { ...QUALITY, text: "novel.txt" } }));
    expect((await store.list()).map(({ measuredAt }) => measuredAt)).toEqual([2, 3]);
  });

  it("is forgotten model by model", async () => {
    await store.keep(measured({}));
    await store.keep(measured({ jobId: "b", model: "large" }));
    await store.deleteModel("tiny");
    expect((await store.list()).map(({ model }) => model)).toEqual(["large"]);
  });

  it("is a hundred at most: the oldest go", async () => {
    for (let at = 0; at < 103; at++) await store.keep(measured({ jobId: String(at), measuredAt: at }));
    const kept = await store.list();
    expect(kept).toHaveLength(100);
    expect(kept[0]?.measuredAt).toBe(3);
  });
});
