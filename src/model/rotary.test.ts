import { describe, expect, it } from "vitest";
import { inverseFrequencies, rotaryVariants } from "./rotary.ts";
import { readRotary, type RotaryRequest } from "./parts/rotary-parameters.ts";
// Configs, and what transformers 5.17 computes from them (modeling_rope_utils.py), in float32.
import references from "./rotary.reference.json" with { type: "json" };

interface Reference {
  readonly name: string;
  readonly config: Readonly<Record<string, unknown>> & {
    readonly head_dim?: number;
    readonly max_position_embeddings: number;
  };
  readonly request: Partial<RotaryRequest>;
  readonly length: number;
  readonly attentionFactor: number;
  readonly inverseFrequencies: readonly number[];
}

const CASES = (references as readonly unknown[] as readonly Reference[]).map(
  (reference) => [reference.name, reference] as const,
);

function rotaryOf({ config, request }: Pick<Reference, "config" | "request">) {
  return readRotary(config, {
    headDim: config.head_dim ?? 16,
    maxPositions: config.max_position_embeddings,
    defaultTheta: 10_000,
    ...request,
  });
}

const BASE = { max_position_embeddings: 512, head_dim: 16 };

describe("rotary embedding", () => {
  it.each(CASES)("has transformers' frequencies and attention factor: %s", (_name, reference) => {
    const rotary = rotaryOf(reference);
    const frequencies = inverseFrequencies(rotary, reference.length);
    expect(rotary.attentionFactor).toBeCloseTo(reference.attentionFactor, 12);
    expect(frequencies.length).toBe(reference.inverseFrequencies.length);
    for (const [index, frequency] of frequencies.entries()) {
      const expected = reference.inverseFrequencies[index] ?? 0;
      // A few units in the last place of float32.
      expect(Math.abs(frequency - expected)).toBeLessThanOrEqual(4e-7 * expected);
    }
  });

  it("takes each layer type's part of rope_parameters", () => {
    const config = {
      ...BASE,
      rope_parameters: {
        full_attention: { rope_type: "default", rope_theta: 1e6 },
        sliding_attention: { rope_type: "default", rope_theta: 1e4 },
      },
    };
    expect(rotaryOf({ config, request: {} }).theta).toBe(1e6);
    expect(rotaryOf({ config, request: { layerType: "sliding_attention" } }).theta).toBe(1e4);
  });

  it("rotates one value more than an odd number, at its frequencies", () => {
    const config = { ...BASE, head_dim: 64, rope_theta: 10_000, partial_rotary_factor: 0.334 };
    const rotary = rotaryOf({ config, request: { partial: true } });
    expect(rotary.dims).toBe(22);
    const frequencies = inverseFrequencies(rotary, 1);
    expect(frequencies).toHaveLength(11);
    expect(frequencies[3]).toBeCloseTo(10_000 ** (-6 / 21), 7);
  });

  it("looks for yarn's truncate beside the parts of layer types, as transformers does", () => {
    const yarn = { rope_type: "yarn", rope_theta: 1e4, factor: 4, original_max_position_embeddings: 64 };
    const read = (outer: object, inner: object) => {
      const rope_parameters = { ...outer, full_attention: { ...yarn, ...inner } };
      return rotaryOf({ config: { ...BASE, rope_parameters }, request: {} }).scaling;
    };
    expect(read({}, { truncate: false })).toMatchObject({ truncate: true });
    expect(read({ truncate: false }, {})).toMatchObject({ truncate: false });
  });

  it("reads the sections of multimodal models as plain positions: text has one", () => {
    const config = { ...BASE, rope_scaling: { type: "mrope", mrope_section: [2, 3, 3] } };
    expect(rotaryOf({ config, request: {} }).scaling).toEqual({ type: "default" });
  });

  it("keeps long and short sequences apart where a model does", () => {
    const factors = { short_factor: Array(8).fill(1), long_factor: Array(8).fill(4) };
    const config = {
      ...BASE,
      original_max_position_embeddings: 64,
      rope_scaling: { type: "longrope", ...factors },
    };
    const rotary = rotaryOf({ config, request: {} });
    expect(rotaryVariants(rotary, 64)).toHaveLength(1);
    const [short, long] = rotaryVariants(rotary, 65);
    expect(long?.beyond).toBe(64);
    expect(short?.inverseFrequencies[0]).toBe(4 * (long?.inverseFrequencies[0] ?? 0));
  });

  it("says what it cannot compute", () => {
    const read = (rope_scaling: unknown, rest = {}) =>
      rotaryOf({ config: { ...BASE, ...rest, rope_scaling }, request: {} });
    expect(() => read({ type: "spiral" })).toThrow('"rope_type" is "spiral"');
    expect(() => read({ type: "linear" })).toThrow('needs "factor"');
    expect(() => read({ type: "linear", factor: -1 })).toThrow("factor");
    expect(() => read({ type: "longrope", short_factor: [1], long_factor: [1] })).toThrow(
      '"short_factor" has 1 values',
    );
    expect(() => read(null, { partial_rotary_factor: 0.5 })).toThrow("partial_rotary_factor");
    const dynamic = read({ type: "dynamic", factor: 2 });
    expect(() => rotaryVariants(dynamic, 513)).toThrow("Set max_seq_length to 512 or less");
  });
});
