import { describe, expect, it } from "vitest";
import { fuzzTarget } from "./fuzz-target.ts";
import { FUZZ_TARGETS } from "./targets.ts";

const SEED = 20_261_128;

describe("files from strangers", () => {
  it.each(FUZZ_TARGETS)("end in errors of ours alone: $name", async (target) => {
    expect(await fuzzTarget(target, { seed: SEED, inputs: 300, measured: false })).toEqual({
      inputs: 300,
      failure: null,
    });
  });
});
