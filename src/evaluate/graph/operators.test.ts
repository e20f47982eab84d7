import { readdirSync } from "node:fs";
import { fromBinary } from "@bufbuild/protobuf";
import { ModelProtoSchema } from "onnx-buf";
import { expect, it } from "vitest";
import { FIXTURES, floatFixture } from "../../testing/fixtures/float-fixture.ts";
import { storedFixture } from "../../testing/fixtures/stored-fixture.ts";
import { WEBGPU_FAMILIES } from "../../testing/fixtures/webgpu-families.ts";
import { planLinears } from "../weights/weight-values.ts";
import { headGraph, layerGraph } from "./decoder-graph.ts";

/** The operators of the graphs of these fixtures. */
function operatorsOf(names: readonly string[]): string[] {
  const found = new Set<string>();
  for (const name of names) {
    const { config, tensors } = floatFixture(name);
    const model = storedFixture(config, tensors);
    const { description } = model;
    const plan = planLinears(model, 2 ** 27);
    const layers = description.layers.map((layer) => layerGraph(description, layer, plan));
    for (const { graph } of [...layers, headGraph(description, plan)])
      for (const { opType } of fromBinary(ModelProtoSchema, graph.encode()).graph?.node ?? [])
        found.add(opType);
  }
  return [...found].toSorted();
}

it("the families that run on WebGPU, too, have every operator that any family has", () => {
  const all = operatorsOf(readdirSync(FIXTURES));
  expect(all.length).toBeGreaterThan(30);
  expect(operatorsOf(WEBGPU_FAMILIES)).toEqual(all);
});
