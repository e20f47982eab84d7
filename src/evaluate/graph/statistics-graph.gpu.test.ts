import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { loadArchitecture } from "../../testing/architecture-fixture.ts";
import { storedFixture } from "../../testing/stored-fixture.ts";
import { predictionColumns } from "../quality/prediction-columns.ts";
import { floatsOf } from "../run-layer.ts";
import { createEngine, type Engine } from "../runtime/engine.ts";
import type { StoredModel } from "../weights/stored-model.ts";
import { predictionGraph, STATISTICS_INPUTS, STATISTICS_OUTPUT } from "./statistics-graph.ts";

const TOKENS = 5;
const COLUMNS = 1000;
const TARGETS = Int32Array.of(0, 7, 999, 500, 31);

/** Logits of some 10 nats, without a library of random numbers. */
function waves(phase: number): Float32Array<ArrayBuffer> {
  return Float32Array.from(
    { length: TOKENS * COLUMNS },
    (_, at) => 10 * Math.sin(at * 1.7 + phase) + Math.cos(at),
  );
}

let engine: Engine;
let model: StoredModel;
beforeAll(async () => {
  engine = await createEngine({ budgetBytes: 2 ** 24, provider: "webgpu" });
  const { config, tensors } = await loadArchitecture("llama");
  model = storedFixture(config, tensors);
});
afterAll(async () => await engine[Symbol.asyncDispose]());

describe("statistics of logits", () => {
  it.each([true, false])("are those of float64 (compared: %s)", async (compared) => {
    const [own, other] = [waves(0), waves(0.05)];
    using graph = await engine.onload(model, predictionGraph(COLUMNS, compared), 1);
    const outputs = await graph.run({
      [STATISTICS_INPUTS.own]: engine.floats(own, [TOKENS, COLUMNS]),
      [STATISTICS_INPUTS.other]: engine.floats(other, [TOKENS, COLUMNS]),
      [STATISTICS_INPUTS.targets]: new engine.runtime.Tensor("int32", TARGETS, [TOKENS, 1]),
    });
    const actual = floatsOf(outputs[STATISTICS_OUTPUT]);
    const expected = predictionColumns(own, compared ? other : null, TARGETS);
    expect(actual).toHaveLength(expected.length);
    // Sums are of values of some 10 nats and of either sign; float32 carries them to 1e-5.
    const errors = expected.map(
      (value, at) => Math.abs((actual[at] ?? 0) - value) / Math.max(10, Math.abs(value)),
    );
    expect(Math.max(...errors)).toBeLessThan(1e-5);
  });
});
