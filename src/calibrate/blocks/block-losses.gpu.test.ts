import { afterAll, beforeAll, expect, it } from "vitest";
import { ReadbackRing } from "../../gpu/staging/readback-ring.ts";
import type { LayerDescription } from "../../model/decoder-description.ts";
import { expertInputModules } from "../../model/layer-linears.ts";
import { type FixtureTensors, loadArchitecture } from "../../testing/fixtures/architecture-fixture.ts";
import { openDecoder } from "../../testing/fixtures/open-decoder.ts";
import { openTestGpu, type TestGpu } from "../../testing/test-gpu/open-test-gpu.ts";
import { referenceLayer } from "../../testing/fixtures/reference-layer.ts";
import { forwardLayer } from "../forward/forward-layer.ts";
import type { LayerWeights } from "../forward/layer-weights.ts";
import { openBlockLosses } from "./block-losses.ts";

let test: TestGpu;
beforeAll(async () => {
  test = await openTestGpu();
});
afterAll(() => test[Symbol.dispose]());

const LENGTHS = [17, 9];

/** Two Linears that change places, by their names' ends. */
type Swap = readonly [string, string];

function swappedModule(module: string, [a, b]: Swap): string {
  if (module.endsWith(a)) return module.slice(0, -a.length) + b;
  return module.endsWith(b) ? module.slice(0, -b.length) + a : module;
}

function swappedWeights(own: LayerWeights, swap: Swap): LayerWeights {
  return { ...own, rowTiles: (module) => own.rowTiles(swappedModule(module, swap)) };
}

function swappedTensors(tensors: FixtureTensors, swap: Swap): FixtureTensors {
  const of = (name: string) => `${swappedModule(name.replace(/\.weight$/, ""), swap)}.weight`;
  return new Map(Array.from(tensors, ([name, tensor]) => [name, tensors.get(of(name)) ?? tensor]));
}

function squares(a: Float64Array, b: Float64Array): number {
  return a.reduce((sum, value, index) => sum + (value - (b[index] ?? 0)) ** 2, 0);
}

/** What experts lose as a share of what they give out, by a plain float64 layer with and without them. */
function expectedLoss(layer: LayerDescription, tensors: FixtureTensors, states: Float32Array, swap: Swap) {
  const output = (of: LayerDescription, by: FixtureTensors) => referenceLayer(of, by, states, LENGTHS).output;
  const whole = output(layer, tensors);
  const without = output({ ...layer, feedForward: null }, tensors);
  return squares(output(layer, swappedTensors(tensors, swap)), whole) / squares(whole, without);
}

const GATE_AND_UP: Swap = ["experts.0.gate_proj", "experts.0.up_proj"];
/** Variants that differ in these alone may be run together. */
const DOWNS: readonly Swap[] = [
  ["experts.0.down_proj", "experts.1.down_proj"],
  ["experts.2.down_proj", "experts.3.down_proj"],
];

it.each<readonly [string, readonly Swap[]]>([
  ["mixtral", [["experts.0.w1", "experts.0.w3"]]],
  ["qwen2-moe", [GATE_AND_UP, ["shared_expert.gate_proj", "shared_expert.up_proj"], ...DOWNS]],
  ["dots1", [GATE_AND_UP, ["shared_experts.gate_proj", "shared_experts.up_proj"]]],
])("experts of %s give out what a plain layer's do, routed and shared", async (name, swaps) => {
  const fixture = await loadArchitecture(name);
  using decoder = await openDecoder(test, fixture, { lengths: LENGTHS });
  using readbacks = await ReadbackRing.create(test.gpu, { pieceBytes: 4096, pieces: 1 });
  const index = decoder.description.layers.findIndex(({ feedForward }) => feedForward?.kind === "experts");
  const layer = decoder.description.layers[index];
  const block = layer?.feedForward;
  if (!layer || block?.kind !== "experts") throw new Error("The fixture has no experts");
  const varied = {
    kind: "experts" as const,
    readers: expertInputModules(block),
    variants: swaps.length,
    ...(swaps.length > 2 && { together: [[2, 3], [0], [1]] }),
    reroutes: name === "dots1",
    weights: (own: LayerWeights, variant: number) => swappedWeights(own, swaps[variant] ?? ["", ""]),
  };
  const size = { tokens: 26, mlpTokens: 26, hiddenSize: layer.hiddenSize };
  using losses = await openBlockLosses(test.gpu, layer, [varied], size);
  const own = { ...(await decoder.passOf(index)), experts: "all", stopAtLastInput: true } as const;
  await forwardLayer({ ...own, hooks: losses.hooksIn(own) }, layer, decoder.hidden);
  const [found = []] = await losses.read(readbacks);
  for (const [variant, swap] of swaps.entries()) {
    // float32 sums against float64
    expect((found[variant] ?? 0) / expectedLoss(layer, fixture.tensors, decoder.states, swap)).toBeCloseTo(
      1,
      3,
    );
  }
});
