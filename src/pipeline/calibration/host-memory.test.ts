import { describe, expect, it } from "vitest";
import type { PlanStep } from "../../plan/plan-steps.ts";
import type { StepTraffic } from "../job/step-traffic.ts";
import type { PlannedStep } from "../planning/planned-step.ts";
import { createHostLayers } from "../sequential/host-layers.ts";
import type { CalibratedLayer } from "./calibrated-layer.ts";
import { checkHostMemory, HOST_BYTES, hostLayerBytes } from "./host-memory.ts";

/** A layer of so many experts of 3 x 7168 x 2048 weights in bfloat16, as DeepSeek-V3 has 256. */
function layerOf(experts: number, index = 0): CalibratedLayer {
  const name = `model.layers.${index}`;
  const linears = Array.from({ length: experts * 3 }, (_, at) => {
    const module = `${name}.mlp.experts.${Math.floor(at / 3)}.${["gate_proj", "up_proj", "down_proj"][at % 3]}`;
    return { module, rows: 2048, columns: 7168, source: { tensor: `${module}.weight` } };
  });
  const layer = { description: { name }, linears, vectors: [], rewritings: [], dtypeOf: () => "BF16" };
  return layer as unknown as CalibratedLayer;
}

describe("a layer in the page's memory", () => {
  it("is refused in the plan if it takes more than a page gets", () => {
    const [large, small] = [layerOf(256), layerOf(64)];
    expect(hostLayerBytes(large)).toBe(256 * 3 * 7168 * 2048 * 2);
    expect(() => checkHostMemory([small])).not.toThrow();
    expect(() => checkHostMemory([small, large])).toThrow(
      "model.layers.0 takes 21 GiB of the page's memory while it is calibrated, and browsers give a page 15 GiB",
    );
  });

  it("is read ahead only if both layers have room", async () => {
    const step = (experts: number, index: number): PlannedStep =>
      ({
        index,
        name: `model.layers.${index}`,
        quantize: [],
        copy: [{ name: `tensor ${index}`, dtype: "U8", shape: [1], file: "f", start: 0, end: 1 }],
        measured: [],
        calibrated: { layer: layerOf(experts, index) },
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
    const hosts = createHostLayers(steps, traffic, HOST_BYTES);
    hosts.readAfter(first);
    expect(taken).toHaveLength(1);
    hosts.readAfter(second);
    expect(taken).toHaveLength(1);
    const last = steps[2];
    expect((await hosts.take(last ?? first)).tensors.size).toBe(1);
    expect(taken).toHaveLength(2);
  });
});
