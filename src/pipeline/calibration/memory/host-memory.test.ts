import { describe, expect, it } from "vitest";
import type { PlanStep } from "../../../plan/plan-steps.ts";
import type { StepTraffic } from "../../job/step-traffic.ts";
import type { PlannedStep } from "../../planning/planned-step.ts";
import { createHostLayers } from "../../sequential/onload/host-layers.ts";
import type { CalibratedLayer } from "../layers/calibrated-layer.ts";
import { HOST_BYTES, hostLayerBytes, layerFileNotes, placeLayers } from "./host-memory.ts";

const EXPERT_LINEAR_BYTES = 7168 * 2048 * 2;

/** A layer of so many experts of 3 x 7168 x 2048 weights in bfloat16, as DeepSeek-V3 has 256, quantized in one pass. */
function layerOf(experts: number, index = 0) {
  const name = `model.layers.${index}`;
  const linears = Array.from({ length: experts * 3 }, (_, at) => {
    const module = `${name}.mlp.experts.${Math.floor(at / 3)}.${["gate_proj", "up_proj", "down_proj"][at % 3]}`;
    return { module, rows: 2048, columns: 7168, source: { tensor: `${module}.weight` } };
  });
  const held = { linears, vectors: [], carriedBytes: 0, rewritings: [], dtypeOf: () => "BF16" };
  const layer = { ...held, description: { name }, weighed: [], scales: [], drifting: null, beside: [] };
  return { layer: layer as unknown as CalibratedLayer, schedule: { passes: [[]] } };
}

describe("a layer outside the GPU", () => {
  it("lies in memory where that holds it, else in a file in part, of which the plan tells", () => {
    const [large, small] = [layerOf(256), layerOf(64)];
    expect(hostLayerBytes(large)).toBe(256 * 3 * EXPERT_LINEAR_BYTES);
    const inMemory = placeLayers([small], HOST_BYTES);
    expect(inMemory.fileBytes).toBe(0);
    expect(layerFileNotes(inMemory)).toEqual([]);
    const apart = placeLayers([small, large], HOST_BYTES);
    expect(apart.fileBytes).toBe((256 * 3 + 1) * EXPERT_LINEAR_BYTES - (HOST_BYTES / 8) * 7);
    expect(layerFileNotes(apart)).toEqual([
      "A layer takes up to 21 GiB while it is calibrated, and 11.4 GiB of the page's memory are for layers: what does not fit, up to 9.65 GiB, lies in a file in the browser's storage meanwhile.",
    ]);
  });

  it("takes a head's weight, which no samples run through, and what stands beside it", () => {
    const { layer } = layerOf(1);
    const [head] = layer.linears;
    const description = { ...layer.description, ...(head && { head }) };
    const alone = { ...layer, linears: [], description, carriedBytes: 100 };
    expect(hostLayerBytes({ layer: alone, schedule: { passes: [[]] } })).toBe(EXPERT_LINEAR_BYTES + 100);
  });

  it("is held once more where several modifiers fold factors into it, and what codes mean beside what later passes compute with", () => {
    const { layer } = layerOf(2);
    const all = 6 * EXPERT_LINEAR_BYTES;
    const foldedBy = (...mappings: readonly object[][]) => {
      const rewritings = mappings.map((each) => ({
        mappings: each,
      })) as unknown as CalibratedLayer["rewritings"];
      return hostLayerBytes({ layer: { ...layer, rewritings }, schedule: { passes: [] } });
    };
    const [first, ...rest] = layer.linears.map(({ module }) => ({ modules: [module], columns: 7168 }));
    const passes = [first ? [first] : [], rest];
    expect(foldedBy([{}], [{}])).toBe(2 * all);
    expect(foldedBy([{}], [])).toBe(all);
    expect(hostLayerBytes({ layer, schedule: { passes } })).toBe(all + EXPERT_LINEAR_BYTES);
    expect(hostLayerBytes({ layer, schedule: { passes: passes.toReversed() } })).toBe(all);
    const scales = [{}] as unknown as CalibratedLayer["scales"];
    const observed = { layer: { ...layer, scales }, schedule: { passes: passes.toReversed() } };
    expect(hostLayerBytes(observed)).toBe(all + 5 * EXPERT_LINEAR_BYTES);
  });

  it("is read ahead only if both layers have room", async () => {
    const step = (experts: number, index: number): PlannedStep =>
      ({
        index,
        name: `model.layers.${index}`,
        quantize: [],
        copy: [{ name: `tensor ${index}`, dtype: "U8", shape: [1], file: "f", start: 0, end: 1 }],
        measured: [],
        calibrated: layerOf(experts, index),
      }) as PlanStep as PlannedStep;
    const taken: unknown[] = [];
    const traffic = {
      take: async (range: unknown) => {
        taken.push(range);
        return await Promise.resolve(new Uint8Array(1));
      },
    } as unknown as StepTraffic;
    const steps = [step(64, 0), step(64, 1), step(128, 2)];
    const [first, second] = steps;
    if (!first || !second) throw new Error("there are steps");
    const hosts = createHostLayers(steps, traffic, { memoryBytes: HOST_BYTES, file: null });
    hosts.readAfter(first);
    expect(taken).toHaveLength(1);
    hosts.readAfter(second);
    expect(taken).toHaveLength(1);
    const last = steps[2];
    expect((await hosts.take(last ?? first)).tensors.size).toBe(1);
    expect(taken).toHaveLength(2);
  });
});
