import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import {
  activationArgs,
  type QuantizationArgs,
  weightArgs,
} from "../../../formats/schemes/quantization-args.ts";
import {
  type ArchitectureFixture,
  loadArchitecture,
} from "../../../testing/fixtures/architecture-fixture.ts";
import { openTestGpu } from "../../../testing/test-gpu/open-test-gpu.ts";
import { quantizedFixture } from "../../../testing/fixtures/quantized-fixture.ts";
import { createEngine, type Engine } from "../../../evaluate/runtime/engine.ts";
import { checkForward, openCheck, runSample, watchSample } from "./check-forward.ts";
import { measureForward } from "./measure-forward.ts";

const IDS = [5, 17, 200, 3, 99, 42, 7, 7, 250, 12];
const { signal } = new AbortController();

let engine: Engine;
let fixture: ArchitectureFixture;
beforeAll(async () => {
  engine = await createEngine({ budgetBytes: 2 ** 26, provider: "wasm" });
  fixture = await loadArchitecture("llama");
});
afterAll(async () => await engine[Symbol.asyncDispose]());

async function compare(weights: QuantizationArgs, input_activations: QuantizationArgs | null) {
  using test = await openTestGpu();
  const model = quantizedFixture(fixture, { weights, input_activations });
  const { watched } = await measureForward({
    gpu: test.gpu,
    model,
    original: null,
    sequences: [IDS, IDS.slice(2)],
    watch: watchSample(model.description),
    signal,
    onProgress: () => undefined,
  });
  return await runSample(engine, { watched, length: IDS.length, signal });
}

const int4 = weightArgs({ num_bits: 4, strategy: "group", group_size: 32 });
const int8 = weightArgs({ num_bits: 8, strategy: "channel" });
const e4m3 = weightArgs({ num_bits: 8, type: "float", strategy: "channel" });
const SCHEMES: readonly { name: string; weights: QuantizationArgs; activations: QuantizationArgs | null }[] =
  [
    { name: "W4A16", weights: int4, activations: null },
    { name: "W3A16", weights: { ...int4, num_bits: 3 }, activations: null },
    {
      name: "W8A8",
      weights: int8,
      activations: activationArgs({ num_bits: 8, strategy: "token", dynamic: true }),
    },
    {
      name: "W8A8 with zero points",
      weights: int8,
      activations: activationArgs({ num_bits: 8, strategy: "token", dynamic: true, symmetric: false }),
    },
    {
      name: "FP8 with measured scales",
      weights: e4m3,
      activations: activationArgs({ num_bits: 8, type: "float", strategy: "tensor", dynamic: false }),
    },
    {
      name: "FP8 in groups",
      weights: e4m3,
      activations: activationArgs({
        num_bits: 8,
        type: "float",
        strategy: "group",
        group_size: 32,
        dynamic: true,
      }),
    },
  ];

describe("the forward pass of an evaluation", () => {
  it.each(SCHEMES)("agrees with onnxruntime-web on $name", async ({ weights, activations }) => {
    const check = await compare(weights, activations);
    expect(check.statesDifference).toBeLessThan(1e-5);
    expect(check.logitsDifference).toBeLessThan(1e-5);
    expect(check).toMatchObject({
      agrees: true,
      tokens: IDS.length,
      layers: ["model.layers.0", "model.layers.1"],
      logits: { tokens: IDS.length },
    });
  });

  it("is told to be wrong where onnxruntime-web finds something else", async () => {
    using test = await openTestGpu();
    const model = quantizedFixture(fixture, { weights: int4, input_activations: null });
    const { watched } = await measureForward({
      gpu: test.gpu,
      model,
      original: null,
      sequences: [IDS],
      watch: { ...watchSample(model.description), tokens: 6 },
      signal,
      onProgress: () => undefined,
    });
    const check = async (own: typeof watched) => {
      const open = await openCheck(model, watchSample(model.description), 2 ** 26);
      expect(open.gpu?.peakBytes()).toBe(0);
      const sessions = vi.spyOn(open.runtime.InferenceSession, "create");
      const outcome = await checkForward(open, { watched: own, length: IDS.length, signal });
      expect(sessions).not.toHaveBeenCalled();
      sessions.mockRestore();
      return outcome;
    };
    const right = await check(watched);
    expect(right).toMatchObject({ check: { tokens: 6, agrees: true }, notes: [], leftBytes: 0 });
    const layers = watched.layers.map(({ behind, ...layer }) =>
      layer.index === 1 ? { ...layer, behind: behind.map((value) => 1.01 * value) } : { ...layer, behind },
    );
    const wrong = await check({ ...watched, layers });
    expect(wrong.check).toMatchObject({ agrees: false, layer: "model.layers.1" });
    expect(wrong.notes).toEqual([
      expect.stringContaining("what model.layers.1 adds to hidden states is off"),
    ]);
    const logits = { ...watched.logits, values: watched.logits.values.map((value) => value + 0.01) };
    const other = await check({ ...watched, logits });
    expect(other.check).toMatchObject({ agrees: false, layer: right.check?.layer });
  });

  it("reads no weight of a watched layer again", async () => {
    using test = await openTestGpu();
    const stored = quantizedFixture(fixture, { weights: int4, input_activations: null });
    const reads: string[] = [];
    const model = {
      ...stored,
      async read(...[name, span]: Parameters<typeof stored.read>) {
        reads.push(name);
        return await stored.read(name, span);
      },
    };
    const watch = watchSample(model.description);
    const request = { gpu: test.gpu, model, original: null, sequences: [IDS], watch, signal };
    const { watched } = await measureForward({ ...request, onProgress: () => undefined });
    reads.length = 0;
    await runSample(engine, { watched, length: IDS.length, signal });
    expect(reads).toEqual([]);
  });

  it("stands unchecked, which is told, where onnxruntime-web has no room", async () => {
    const model = quantizedFixture(fixture, { weights: int4, input_activations: null });
    const before = new Float32Array(IDS.length * model.description.hiddenSize);
    const layers = [{ index: 0, before, behind: before }];
    const logits = { tokens: 1, ids: 1, states: before, values: new Float32Array(1) };
    const watched = { ids: IDS, layers, logits, model };
    const small = await openCheck(model, watchSample(model.description), 1024);
    const { check, notes } = await checkForward(small, { watched, length: 10, signal });
    expect(check).toBe(null);
    expect(notes).toEqual([
      expect.stringMatching(/^These figures were not checked by onnxruntime-web: .* budget/),
    ]);
  });
});
