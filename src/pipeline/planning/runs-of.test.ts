import { expect, it } from "vitest";
import type { PlannedStep } from "./planned-step.ts";
import { runsOf } from "./runs-of.ts";

const LAYER = {} as unknown as NonNullable<PlannedStep["calibrated"]>;

function named(name: string, calibrated: PlannedStep["calibrated"] = null): PlannedStep {
  return { name, calibrated } as unknown as PlannedStep;
}

function runs(steps: readonly PlannedStep[]) {
  return runsOf({ steps }).map(({ calibrated, steps: own }) => [calibrated, ...own.map(({ name }) => name)]);
}

it("takes samples from the first layer to the head at once, whatever stands between by its name", () => {
  const steps = [
    named("embed"),
    named("layers.0", LAYER),
    named("layers.1", LAYER),
    named("tower.0"),
    named("head", LAYER),
    named("rest"),
  ];
  expect(runs(steps)).toEqual([
    [false, "embed"],
    [true, "layers.0", "layers.1", "head"],
    [false, "tower.0", "rest"],
  ]);
});

it("is one run where nothing is calibrated, or all is", () => {
  expect(runs([named("embed"), named("layers.0")])).toEqual([[false, "embed", "layers.0"]]);
  expect(runs([named("layers.0", LAYER)])).toEqual([[true, "layers.0"]]);
});
