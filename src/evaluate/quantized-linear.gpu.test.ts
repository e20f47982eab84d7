import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type QuantizationScheme, activationArgs, weightArgs } from "../formats/schemes/quantization-args.ts";
import { packStream } from "../formats/numbers/packing.ts";
import type { FixtureTensors } from "../testing/fixtures/architecture-fixture.ts";
import { floatsOf, loadArchitecture, relativeError } from "../testing/fixtures/architecture-fixture.ts";
import { storedFixture } from "../testing/fixtures/stored-fixture.ts";
import { layerLinears } from "../model/layer-linears.ts";
import { headGraph, layerGraph } from "./graph/decoder-graph.ts";
import { embedOne, positionFeeds, runHead, runLayer } from "./run-layer.ts";
import { createEngine, type Engine } from "./runtime/engine.ts";
import type { StoredModel } from "./weights/stored-model.ts";
import { planLinears, readRows } from "./weights/weight-values.ts";
import type { Linear } from "../model/weight-description.ts";

const IDS = [5, 17, 200, 3, 99, 42, 7, 7];
const GROUP = 32;
const scheme: QuantizationScheme = {
  weights: weightArgs({ num_bits: 4, strategy: "group", group_size: GROUP }),
  input_activations: null,
};

/** The llama fixture with all Linears of its layers rounded to int4 and packed; head and embedding stay. */
async function packedFixture(): Promise<{ config: Record<string, unknown>; tensors: Map<string, Tensor> }> {
  const { config, tensors } = await loadArchitecture("llama");
  const packed = new Map<string, Tensor>(tensors);
  const { description } = storedFixture(config, tensors);
  for (const linear of description.layers.flatMap(layerLinears)) {
    const { rows, columns, module } = linear;
    const weight = floatsOf(tensors, `${module}.weight`);
    const scales = Float32Array.from({ length: (rows * columns) / GROUP }, (_, cell) => {
      const values = weight.subarray(cell * GROUP, (cell + 1) * GROUP);
      return Math.max(...values.map(Math.abs)) / 7;
    });
    const codes = weight.map((value, at) => Math.round(value / (scales[Math.floor(at / GROUP)] ?? 1)));
    packed.delete(`${module}.weight`);
    const words = packStream(codes, 4, 8);
    packed.set(`${module}.weight_packed`, tensorOf("I32", [rows, columns / 8], words));
    packed.set(`${module}.weight_scale`, tensorOf("F32", [rows, columns / GROUP], scales));
  }
  return { config, tensors: packed };
}

type Tensor = FixtureTensors extends ReadonlyMap<string, infer Each> ? Each : never;

function tensorOf(
  dtype: string,
  shape: number[],
  values: Uint32Array<ArrayBuffer> | Int32Array<ArrayBuffer> | Float32Array<ArrayBuffer>,
) {
  return { dtype, shape, bytes: new Uint8Array(values.buffer) };
}

/** The same model with every weight dequantized on the CPU, so that the graph multiplies float32. */
async function dequantized(model: StoredModel, config: Record<string, unknown>, tensors: FixtureTensors) {
  const plain = new Map<string, Tensor>(tensors);
  for (const linear of model.description.layers.flatMap(layerLinears)) {
    const { module, rows, columns } = linear;
    plain.set(`${module}.weight`, tensorOf("F32", [rows, columns], await readRows(model, linear, 0, rows)));
    plain.delete(`${module}.weight_packed`);
    plain.delete(`${module}.weight_scale`);
  }
  return storedFixture(config, plain);
}

async function logitsOf(engine: Engine, model: StoredModel): Promise<Float32Array> {
  const { description } = model;
  const { hiddenSize } = description;
  const plan = planLinears(model, engine.maxInputBytes);
  const positions = positionFeeds(engine, 0, IDS.length);
  let hidden = await embedOne(model, IDS);
  for (const layer of description.layers) {
    using onloaded = await engine.onload(model, layerGraph(description, layer, plan), IDS.length);
    hidden = await runLayer(engine, onloaded, hidden, { width: hiddenSize, feeds: positions });
  }
  using head = await engine.onload(model, headGraph(description, plan), 1);
  return await runHead(engine, head, hidden, hiddenSize);
}

describe.each(["wasm", "webgpu"] as const)("packed int4 weights on %s", (provider) => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await createEngine({ budgetBytes: 2 ** 28, provider });
  });
  afterAll(async () => await engine[Symbol.asyncDispose]());

  it("go to MatMulNBits as they are stored", async () => {
    const { config, tensors } = await packedFixture();
    const model = storedFixture(config, tensors, schemeOfLayers);
    const plan = planLinears(model, engine.maxInputBytes);
    const layouts = model.description.layers.flatMap(layerLinears).map((linear) => plan.layout(linear));
    expect(new Set(layouts.map(({ kind }) => kind))).toEqual(new Set(["nbits"]));
    const expected = await logitsOf(engine, await dequantized(model, config, tensors));
    expect(relativeError(await logitsOf(engine, model), expected)).toBeLessThan(1e-5);
  });

  it("change the logits as the dequantized reference predicts when one nibble flips", async () => {
    const { config, tensors } = await packedFixture();
    const before = await logitsOf(engine, storedFixture(config, tensors, schemeOfLayers));
    const name = "model.layers.0.mlp.down_proj.weight_packed";
    const tensor = tensors.get(name);
    if (!tensor) throw new Error(`The fixture has no ${name}`);
    const bytes = tensor.bytes.slice();
    bytes[5] = (bytes[5] ?? 0) ^ 0xf0;
    const flipped = new Map(tensors).set(name, { ...tensor, bytes });
    const model = storedFixture(config, flipped, schemeOfLayers);
    const after = await logitsOf(engine, model);
    const predicted = await logitsOf(engine, await dequantized(model, config, flipped));
    expect(relativeError(after, predicted)).toBeLessThan(1e-5);
    expect(relativeError(after, before)).toBeGreaterThan(1e-3);
  });
});

/**
 * The llama fixture with its layers' columns in shuffled groups, as activation order leaves them: packed with weight_g_idx,
 * and plain with the weights that the codes stand for.
 */
async function shuffledFixtures() {
  const { config, tensors } = await loadArchitecture("llama");
  const [packed, plain] = [new Map<string, Tensor>(tensors), new Map<string, Tensor>(tensors)];
  const { description } = storedFixture(config, tensors);
  for (const { rows, columns, module } of description.layers.flatMap(layerLinears)) {
    const weight = floatsOf(tensors, `${module}.weight`);
    const groups = columns / GROUP;
    const groupOf = Int32Array.from({ length: columns }, (_, column) => (column * 7) % groups);
    const scales = new Float32Array(rows * groups);
    for (const [at, value] of weight.entries()) {
      const cell = Math.floor(at / columns) * groups + (groupOf[at % columns] ?? 0);
      scales[cell] = Math.max(scales[cell] ?? 0, Math.abs(value) / 7);
    }
    const scaleOf = (at: number) =>
      scales[Math.floor(at / columns) * groups + (groupOf[at % columns] ?? 0)] ?? 1;
    const codes = weight.map((value, at) => Math.round(value / scaleOf(at)));
    const rounded = codes.map((code, at) => code * scaleOf(at));
    plain.set(`${module}.weight`, tensorOf("F32", [rows, columns], rounded));
    packed.delete(`${module}.weight`);
    packed.set(`${module}.weight_packed`, tensorOf("I32", [rows, columns / 8], packStream(codes, 4, 8)));
    packed.set(`${module}.weight_scale`, tensorOf("F32", [rows, groups], scales));
    packed.set(`${module}.weight_g_idx`, tensorOf("I32", [columns], groupOf));
  }
  return { packed: storedFixture(config, packed, schemeOfLayers), plain: storedFixture(config, plain) };
}

describe("groups in activation order", () => {
  it("take the scales that weight_g_idx names", async () => {
    const engine = await createEngine({ budgetBytes: 2 ** 26, provider: "wasm" });
    try {
      const { packed, plain } = await shuffledFixtures();
      const expected = await logitsOf(engine, plain);
      expect(relativeError(await logitsOf(engine, packed), expected)).toBeLessThan(1e-5);
    } finally {
      await engine[Symbol.asyncDispose]();
    }
  });
});

describe("activations", () => {
  const round = async (engine: Engine, args: ReturnType<typeof activationArgs>, x: number[]) => {
    const identity: Linear = {
      module: "identity",
      rows: x.length,
      columns: x.length,
      bias: null,
      source: { tensor: "identity.weight", shape: [x.length, x.length], firstRow: 0 },
    };
    const plan = {
      maxInputBytes: 2 ** 20,
      layout: () => ({ kind: "dense" as const }),
      inputQuantization: () => ({ args, scale: null }),
    };
    const fixture = await loadArchitecture("llama");
    const { description, ...model } = storedFixture(fixture.config, fixture.tensors);
    const one = tensorOf(
      "F32",
      [x.length],
      Float32Array.from(x, () => 1),
    );
    const unit = Float32Array.from({ length: x.length ** 2 }, (_, at) => Number(at % (x.length + 1) === 0));
    const tensors = new Map([
      ["identity.weight", tensorOf("F32", [x.length, x.length], unit)],
      ["norm.weight", one],
    ]);
    const head = { ...description.head, linear: identity };
    // A norm by its root mean square, which is undone afterwards.
    const finalNorm = {
      ...description.finalNorm,
      size: x.length,
      weightSize: x.length,
      weight: "norm.weight",
      eps: 1e-30,
    };
    const own = { ...description, head, finalNorm, hiddenSize: x.length, vocabSize: x.length };
    const stored: StoredModel = {
      ...model,
      description: own,
      tensor: (name) => (tensors.has(name) ? { name, dtype: "F32", shape: [] } : null),
      read: (name) => Promise.resolve(tensors.get(name)?.bytes.slice() ?? new Uint8Array()),
    };
    using graph = await engine.onload(stored, headGraph(own, plan), 1);
    const rms = Math.sqrt(x.reduce((sum, value) => sum + value ** 2, 0) / x.length);
    return (await runHead(engine, graph, Float32Array.from(x), x.length)).map((value) => value * rms);
  };

  it("are rounded to int8 and e4m3 for each token", async () => {
    const engine = await createEngine({ budgetBytes: 2 ** 26, provider: "wasm" });
    try {
      const int8 = activationArgs({ num_bits: 8, strategy: "token", dynamic: true });
      // The scale is amax / 127.5: 127.5 is clipped to 127 steps of 1.
      const integers = await round(engine, int8, [127.5, 3.4, -2.6, 0]);
      for (const [at, value] of [127, 3, -3, 0].entries()) expect(integers[at]).toBeCloseTo(value, 3);
      const fp8 = activationArgs({ num_bits: 8, type: "float", strategy: "token", dynamic: true });
      const floats = await round(engine, fp8, [448, 17.4, -0.0021, 100]);
      for (const [at, value] of [448, 18, -0.001953125, 96].entries())
        expect(floats[at]).toBeCloseTo(value, 3);
    } finally {
      await engine[Symbol.asyncDispose]();
    }
  });
});

function schemeOfLayers(module: string): QuantizationScheme | null {
  return module.includes("layers.") ? scheme : null;
}
