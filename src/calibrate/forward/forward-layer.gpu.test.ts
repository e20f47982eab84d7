import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { LayerDescription } from "../../model/decoder-description.ts";
import { captures } from "../../model/layer-linears.ts";
import {
  type FixtureTensors,
  loadArchitecture,
  relativeError,
} from "../../testing/fixtures/architecture-fixture.ts";
import {
  type OpenDecoder,
  openDecoder,
  type OpenDecoderOptions,
} from "../../testing/fixtures/open-decoder.ts";
import { referenceLayer } from "../../testing/fixtures/reference-layer.ts";
import { openTestGpu, type TestGpu } from "../../testing/test-gpu/open-test-gpu.ts";
import { forwardLayer } from "./forward-layer.ts";
import type { ForwardPass } from "./forward-pass.ts";
import type { Activations, ForwardHooks } from "./layer-weights.ts";

let test: TestGpu;
beforeAll(async () => {
  test = await openTestGpu();
});
afterAll(() => test[Symbol.dispose]());

type PassOptions = Pick<ForwardPass, "experts" | "stopAtLastInput" | "wanted">;

/** Hidden states after all layers. */
async function output(name: string, options: OpenDecoderOptions, pass: PassOptions = {}) {
  using decoder = await openDecoder(test, await loadArchitecture(name), options);
  for (const [index, layer] of decoder.description.layers.entries()) {
    await forwardLayer({ ...(await decoder.passOf(index)), ...pass }, layer, decoder.hidden);
  }
  return await test.readFloats(decoder.hidden);
}

interface Captured {
  readonly modules: readonly string[];
  readonly rows: number;
  readonly values: Float32Array;
}

/** Reads a matrix with its stride, right when the hook is called. */
async function readMatrix({ buffer, rows, columns, stride, offset = 0 }: Activations): Promise<Float32Array> {
  const whole = await test.readFloats("of" in buffer ? buffer.of : buffer);
  const values = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    const start = offset + row * stride;
    values.set(whole.subarray(start, start + columns), row * columns);
  }
  return values;
}

function collect(into: Captured[]): ForwardHooks {
  return {
    async onInput(modules, input) {
      into.push({ modules, rows: input.rows, values: await readMatrix(input) });
    },
  };
}

async function capturedInputs(
  decoder: OpenDecoder,
  layer: LayerDescription,
  pass: PassOptions = {},
): Promise<Captured[]> {
  const found: Captured[] = [];
  const own = await decoder.passOf(0);
  await forwardLayer({ ...own, ...pass, hooks: collect(found) }, layer, decoder.hidden);
  // Buffers must not be destroyed under recorded work.
  await test.gpu.queue.flush();
  return found;
}

function firstLayer({ description }: OpenDecoder): LayerDescription {
  const [layer] = description.layers;
  if (!layer) throw new Error("The fixture has no layer");
  return layer;
}

/** Families that differ most. */
const FAMILIES = ["gemma3", "gemma4-moe", "olmo2", "phi3", "cohere", "starcoder2", "stablelm"];

describe("a batch of several sequences", () => {
  it.each(["mistral-sliding", "gemma4", "mixtral"])("gives each what it gets alone (%s)", async (name) => {
    const lengths = [5, 48, 1, 30];
    const together = await output(name, { lengths });
    const hiddenSize = together.length / 84;
    let firstId = 0;
    for (const length of lengths) {
      const alone = await output(name, { lengths: [length], firstId });
      const part = together.subarray(firstId * hiddenSize, (firstId + length) * hiddenSize);
      expect(relativeError(part, alone)).toBeLessThan(1e-6);
      firstId += length;
    }
  });
});

describe("weights in row tiles and MLPs in runs of tokens", () => {
  it.each(["gemma4", "cohere", "qwen2-moe"])("give the same hidden states bit for bit (%s)", async (name) => {
    const lengths = [20, 13];
    const whole = await output(name, { lengths });
    expect(await output(name, { lengths, tileRows: 16 })).toEqual(whole);
    expect(await output(name, { lengths, mlpTokens: 10 })).toEqual(whole);
  });
});

describe("captured inputs", () => {
  it.each([
    ["olmo2", "all"],
    ["cohere", "all"],
    ["starcoder2", "all"],
    ["qwen2-moe", "all"],
    ["qwen2-moe", "routed"],
    ["gemma4", "all"],
    ["gemma4-moe", "all"],
    ["gemma4-moe", "routed"],
  ] as const)(
    "come in the order and with the columns that captures() says (%s, %s)",
    async (name, experts) => {
      using decoder = await openDecoder(test, await loadArchitecture(name), { lengths: [17, 9] });
      const layer = firstLayer(decoder);
      const found = await capturedInputs(decoder, layer, { experts });
      const said = found.map(({ modules, rows, values }) => ({ modules, columns: values.length / rows }));
      expect(said).toEqual(captures(layer, experts));
    },
  );

  it.each(["gemma3", "cohere", "gemma4", "gemma4-moe"])(
    "are the same when the pass stops at the last of them (%s)",
    async (name) => {
      const fixture = await loadArchitecture(name);
      using decoder = await openDecoder(test, fixture, { lengths: [17, 9] });
      const whole = await capturedInputs(decoder, firstLayer(decoder), { experts: "all" });
      using again = await openDecoder(test, fixture, { lengths: [17, 9] });
      const pass = { experts: "all", stopAtLastInput: true } as const;
      expect(await capturedInputs(again, firstLayer(again), pass)).toEqual(whole);
    },
  );

  it.each(FAMILIES)("agree with a plain float64 layer (%s)", async (name) => {
    const fixture = await loadArchitecture(name);
    const lengths = [17, 9];
    using decoder = await openDecoder(test, fixture, { lengths });
    const layer = firstLayer(decoder);
    const expected = referenceLayer(layer, fixture.tensors, decoder.states, lengths);
    for (const { modules, values } of await capturedInputs(decoder, layer, { experts: "all" })) {
      for (const module of modules) {
        expect(relativeError(values, expected.inputs.get(module) ?? [])).toBeLessThan(2e-5);
      }
    }
    expect(relativeError(await test.readFloats(decoder.hidden), expected.output)).toBeLessThan(2e-5);
  });

  it.each(["a mixer", "a feed-forward", "two mixers"])("agree in a layer of %s alone", async (blocks) => {
    const fixture = await loadArchitecture("llama");
    const lengths = [17, 9];
    using decoder = await openDecoder(test, fixture, { lengths });
    const first = firstLayer(decoder);
    const mixers = blocks === "two mixers" ? [first.mixers, first.mixers].flat() : first.mixers;
    const layer =
      blocks === "a feed-forward" ? { ...first, mixers: [] } : { ...first, mixers, feedForward: null };
    const expected = referenceLayer(layer, fixture.tensors, decoder.states, lengths);
    const stopped = await capturedInputs(decoder, layer, { stopAtLastInput: true });
    expect(await test.readFloats(decoder.hidden)).toEqual(decoder.states);
    const found = await capturedInputs(decoder, layer);
    expect(stopped).toEqual(found);
    expect(found.map(({ modules }) => modules)).toEqual(captures(layer).map(({ modules }) => modules));
    expect(relativeError(await test.readFloats(decoder.hidden), expected.output)).toBeLessThan(2e-5);
  });

  it.each(["gemma4", "cohere", "qwen3-moe"])("end with the last that is wanted (%s)", async (name) => {
    const fixture = await loadArchitecture(name);
    using decoder = await openDecoder(test, fixture, { lengths: [17, 9] });
    const layer = firstLayer(decoder);
    const whole = await capturedInputs(decoder, layer, { experts: "all" });
    for (const [index, { modules }] of whole.entries()) {
      using again = await openDecoder(test, fixture, { lengths: [17, 9] });
      const wanted = new Set(modules);
      const found = await capturedInputs(again, firstLayer(again), {
        experts: "all",
        stopAtLastInput: true,
        wanted,
      });
      expect(found.length).toBeLessThanOrEqual(index + 1);
      expect(found.at(-1)).toEqual(whole[index]);
    }
  });
});

/** The checkpoint with each layer's experts in gate_up_proj and down_proj, as transformers 5 holds them. */
function stackExperts(tensors: FixtureTensors, count: number): FixtureTensors {
  const result = new Map([...tensors].filter(([name]) => !name.includes(".experts.")));
  for (const layer of [0, 1]) {
    const block = `model.layers.${layer}.mlp.experts`;
    for (const [stack, parts] of [
      ["gate_up_proj", ["gate_proj", "up_proj"]],
      ["down_proj", ["down_proj"]],
    ] as const) {
      const members = Array.from({ length: count }, (_, expert) =>
        parts.map((part) => tensors.get(`${block}.${expert}.${part}.weight`)),
      ).flat();
      const bytes = new Uint8Array(members.flatMap((member) => [...(member?.bytes ?? [])]));
      const [rows = 0, columns = 0] = members[0]?.shape ?? [];
      result.set(`${block}.${stack}`, { dtype: "BF16", shape: [count, rows * parts.length, columns], bytes });
    }
  }
  return result;
}

describe("mixtures of experts", () => {
  it.each(["mixtral", "qwen2-moe", "gemma4-moe"])(
    "give the same hidden states whether experts see all tokens or theirs (%s)",
    async (name) => {
      const lengths = [40, 11];
      const all = await output(name, { lengths }, { experts: "all" });
      const routed = await output(name, { lengths }, { experts: "routed" });
      expect(relativeError(routed, all)).toBeLessThan(1e-6);
    },
  );

  it("may lie stacked in two tensors", async () => {
    const fixture = await loadArchitecture("qwen3-moe");
    const stacked = { ...fixture, tensors: stackExperts(fixture.tensors, 4) };
    using separate = await openDecoder(test, fixture, { lengths: [9] });
    using together = await openDecoder(test, stacked, { lengths: [9] });
    expect(firstLayer(together)).not.toEqual(firstLayer(separate));
    for (const { pass, description, hidden } of [separate, together]) {
      for (const layer of description.layers) await forwardLayer(pass, layer, hidden);
    }
    expect(await test.readFloats(together.hidden)).toEqual(await test.readFloats(separate.hidden));
  });

  it("compute their own tokens alone where nobody looks at what they are given", async () => {
    const lengths = [17, 9];
    using decoder = await openDecoder(test, await loadArchitecture("gpt-oss"), { lengths });
    const counts: number[] = [];
    const hooks: ForwardHooks = {
      async onRoutes(_router, counted) {
        counts.push(...counted);
      },
    };
    const layer = firstLayer(decoder);
    const wanted = new Set(["model.layers.0.self_attn.o_proj"]);
    await forwardLayer({ ...decoder.pass, hooks, experts: "all", wanted }, layer, decoder.hidden);
    expect(counts.reduce((sum, count) => sum + count, 0)).toBe(2 * 26);
    using whole = await openDecoder(test, await loadArchitecture("gpt-oss"), { lengths });
    await forwardLayer({ ...whole.pass, experts: "all" }, firstLayer(whole), whole.hidden);
    expect(await test.readFloats(decoder.hidden)).toEqual(await test.readFloats(whole.hidden));
  });

  it("show each expert the rows of its tokens, and say how many", async () => {
    using decoder = await openDecoder(test, await loadArchitecture("qwen3-moe"), { lengths: [40, 11] });
    const layer = firstLayer(decoder);
    const inputs: Captured[] = [];
    const counts: (readonly number[])[] = [];
    const hooks: ForwardHooks = {
      ...collect(inputs),
      async onRoutes(_router, counted) {
        counts.push(counted);
      },
    };
    await forwardLayer({ ...decoder.pass, hooks, experts: "routed" }, layer, decoder.hidden);
    await test.gpu.queue.flush();
    const seen = inputs.filter(({ modules }) => modules[0]?.endsWith("gate_proj")).map(({ rows }) => rows);
    expect(counts).toEqual([seen]);
    expect(seen.reduce((sum, rows) => sum + rows, 0)).toBe(2 * 51);
    const every = new Set<string>();
    for (const { values, rows } of inputs.slice(2)) {
      if (values.length / rows !== 64) continue;
      for (let row = 0; row < rows; row++) every.add(values.subarray(row * 64, row * 64 + 64).join());
    }
    expect(every.size).toBe(51);
  });
});

describe("keys and values", () => {
  it("are handed over as a cache would store them", async () => {
    const fixture = await loadArchitecture("qwen3");
    const lengths = [12, 5];
    using decoder = await openDecoder(test, fixture, { lengths });
    const layer = firstLayer(decoder);
    const found: { keys: Float32Array; values: Float32Array }[] = [];
    const hooks: ForwardHooks = {
      async onKeyValue(module, keys, values) {
        expect(module).toBe("model.layers.0.self_attn");
        found.push({ keys: await readMatrix(keys), values: await readMatrix(values) });
      },
    };
    await forwardLayer({ ...decoder.pass, hooks }, layer, decoder.hidden);
    await test.gpu.queue.flush();
    const expected = referenceLayer(layer, fixture.tensors, decoder.states, lengths);
    expect(relativeError(found[0]?.keys ?? [], expected.cache?.keys ?? [])).toBeLessThan(2e-5);
    expect(relativeError(found[0]?.values ?? [], expected.cache?.values ?? [])).toBeLessThan(2e-5);
  });
});
