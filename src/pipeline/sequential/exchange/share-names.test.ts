import { expect, it } from "vitest";
import { planFixture } from "../../../testing/jobs/plan-fixture.ts";
import { ownersOf } from "./share-names.ts";

const GPTQ = { name: "GPTQModifier", dampening_frac: 0.01, actorder: "static" } as const;

it.each([
  [false, [0, 1, 2, 0]],
  [true, [0, 0, 0, 0]],
])(
  "gives the costliest input of a layer to one share, error goes on: %s",
  async (propagateError, expected) => {
    const { plan } = await planFixture("llama", "W8A8", GPTQ, { propagateError });
    const [layer] = plan.calibration?.layers ?? [];
    if (!layer) throw new Error("the fixture has layers");
    const { captures } = layer;
    const largest = captures.toSorted((a, b) => b.columns - a.columns)[0];
    const owners = [0, 1, 2, 3].map((index) => ownersOf({ layer, index }, captures, 3));
    expect(owners.map((own) => largest && own.get(largest))).toEqual(expected);
    for (const own of owners) expect(new Set(own.values())).toEqual(new Set([0, 1, 2]));
  },
);
