import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ARCHITECTURES, loadArchitecture } from "../../testing/fixtures/architecture-fixture.ts";
import { forwardErrors } from "../../testing/fixtures/forward-errors.ts";
import { openTestGpu, type TestGpu } from "../../testing/test-gpu/open-test-gpu.ts";

let test: TestGpu;
beforeAll(async () => {
  test = await openTestGpu();
});
afterAll(() => test[Symbol.dispose]());

/** Float32 rounding through a few layers; a wrong formula is off by 1e-2 or more. */
const TOLERANCE = 2e-5;

/**
 * The delta rule gives small values that a norm makes large, and rounding with them: transformers' own float32 is 2.4e-4 off
 * its float64, which this fixture's reference therefore holds.
 */
const LOOSE = new Map([["qwen3-next", 1e-4]]);

describe("the forward pass agrees with PyTorch in float32", () => {
  it.each(ARCHITECTURES)("%s", async (name) => {
    for (const error of await forwardErrors(test, await loadArchitecture(name)))
      expect(error).toBeLessThan(LOOSE.get(name) ?? TOLERANCE);
  });
});
