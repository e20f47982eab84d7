// Sequences of more tokens than fixtures have: blocks that double, sums of decays.

import { afterAll, beforeAll, expect, it } from "vitest";
import { loadArchitecture, relativeError } from "../../../testing/fixtures/architecture-fixture.ts";
import { randomNormal, seededRandom } from "../../../testing/random.ts";
import { referenceLayer } from "../../../testing/fixtures/reference-layer.ts";
import { storedFixture } from "../../../testing/fixtures/stored-fixture.ts";
import { masksOf, positionFeeds, runLayer } from "../../run-layer.ts";
import { createEngine, type Engine } from "../../runtime/engine.ts";
import { planLinears } from "../../weights/weight-values.ts";
import { layerGraph } from "../decoder-graph.ts";

const TOKENS = 150;

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine({ budgetBytes: 2 ** 28, provider: "wasm" });
});
afterAll(async () => {
  await engine[Symbol.asyncDispose]();
});

it.each(["qwen3-next", "falcon-h1"])("a layer of %s agrees with the recurrence in float64", async (name) => {
  const { config, tensors } = await loadArchitecture(name);
  const model = storedFixture(config, tensors);
  const { description } = model;
  const [layer] = description.layers;
  if (!layer) throw new Error("The fixture has no layer");
  const width = description.hiddenSize;
  const hidden = randomNormal(TOKENS * width, seededRandom(11));
  const plan = planLinears(model, engine.maxInputBytes);
  using onloaded = await engine.onload(model, layerGraph(description, layer, plan), TOKENS);
  const feeds = positionFeeds(engine, 0, TOKENS, masksOf(description));
  const rows = await runLayer(engine, onloaded, hidden, { width, feeds });
  const { output } = referenceLayer(layer, tensors, hidden, [TOKENS]);
  expect(relativeError(rows, output)).toBeLessThan(1e-4);
});
