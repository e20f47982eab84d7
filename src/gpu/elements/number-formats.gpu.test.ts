import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { f16ToNumber, numberToBf16, numberToF16 } from "../../formats/numbers/dtype.ts";
import { e2m1ToNumber, numberToE2m1 } from "../../formats/numbers/fp4.ts";
import { e4m3ToNumber, numberToE4m3 } from "../../formats/numbers/fp8.ts";
import { openTestGpu, type TestGpu } from "../../testing/test-gpu/open-test-gpu.ts";
import { seededRandom } from "../../testing/random.ts";
import { kernel } from "../kernel.ts";
import numberFormats from "./number-formats.wgsl?raw";
import { struct } from "../struct.ts";

const probe = `
struct Params { operation: u32, count: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<u32>;
@group(0) @binding(2) var<storage, read> b: array<u32>;
@group(0) @binding(3) var<storage, read_write> result: array<u32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let i = id.x;
  if (i >= params.count) { return; }
  switch params.operation {
    case 0u: { result[i] = bitcast<u32>(divide(bitcast<f32>(a[i]), bitcast<f32>(b[i]))); }
    case 1u: { result[i] = to_bf16_bits(a[i]); }
    case 2u: { result[i] = to_f16_bits(a[i]); }
    case 3u: { result[i] = bitcast<u32>(from_f16_bits(a[i])); }
    case 4u: { result[i] = to_e4m3(bitcast<f32>(a[i])); }
    case 5u: { result[i] = bitcast<u32>(from_e4m3(a[i])); }
    case 6u: { result[i] = to_e2m1(bitcast<f32>(a[i])); }
    default: { result[i] = bitcast<u32>(from_e2m1(a[i])); }
  }
}`;

const probeKernel = kernel({
  name: "test.number-formats",
  code: [numberFormats, probe],
  params: struct({ operation: "u32", count: "u32" }),
  bindings: { a: "read", b: "read", result: "read_write" },
});

let test: TestGpu;
beforeAll(async () => {
  test = await openTestGpu();
});
afterAll(() => test[Symbol.dispose]());

async function compute(operation: number, first: Uint32Array, second = first): Promise<Uint32Array> {
  using a = await test.upload("a", first);
  using b = await test.upload("b", second);
  using result = await test.empty("result", first.byteLength);
  await test.gpu.queue.run(probeKernel, {
    params: { operation, count: first.length },
    buffers: { a, b, result },
    workgroups: [Math.ceil(first.length / 64)],
    work: first.length,
  });
  return await test.readWords(result, first.length);
}

function bits(values: ArrayLike<number>): Uint32Array {
  return new Uint32Array(Float32Array.from(values).buffer);
}

function floats(words: Uint32Array): Float32Array {
  return new Float32Array(words.slice().buffer);
}

/** Finite float32 values of every exponent, subnormals included, both signs. */
function anyFloats(count: number, seed: number): Float32Array {
  const random = seededRandom(seed);
  const words = Uint32Array.from({ length: count }, () => Math.floor(random() * 2 ** 32));
  return floats(words).map((value) => (Number.isFinite(value) ? value : 1));
}

const isNaNWord = (word: number) => (word & 0x7fffffff) > 0x7f800000;

describe("number formats on the GPU", () => {
  it("divides as IEEE 754 wants it, for any exponent", async () => {
    const a = anyFloats(40_000, 1);
    const b = anyFloats(40_000, 2).map((value) => value || 1);
    const result = await compute(0, bits(a), bits(b));
    const expected = bits(a.map((value, index) => value / (b[index] ?? 1)));
    expect(result).toEqual(expected);
  });

  it("divides exact ties of bfloat16 operands exactly", async () => {
    const random = seededRandom(3);
    const b = Float32Array.from({ length: 20_000 }, () => 128 + Math.floor(random() * 128));
    const a = b.map((value) => value * (257 + 2 * Math.floor(random() * 100)));
    expect(floats(await compute(0, bits(a), bits(b)))).toEqual(
      a.map((value, index) => value / (b[index] ?? 1)),
    );
  });

  it("rounds to bfloat16 like the CPU", async () => {
    const values = anyFloats(40_000, 4);
    expect(await compute(1, bits(values))).toEqual(Uint32Array.from(values, numberToBf16));
  });

  it("rounds to float16 like the CPU, over its whole range and at every tie", async () => {
    const halves = Array.from({ length: 0x7c00 }, (_, index) => f16ToNumber(index));
    const ties = halves.slice(1).map((value, index) => (value + (halves[index] ?? 0)) / 2);
    const values = Float32Array.from([
      ...halves,
      ...ties,
      ...ties.map((value) => -value),
      65519,
      65520,
      1e30,
    ]);
    expect(await compute(2, bits(values))).toEqual(Uint32Array.from(values, numberToF16));
  });

  it("widens every float16", async () => {
    const codes = Uint32Array.from({ length: 65_536 }, (_, index) => index);
    const result = await compute(3, codes);
    const expected = bits(Array.from(codes, f16ToNumber));
    expect(result.map((word) => (isNaNWord(word) ? 1 : word))).toEqual(
      expected.map((word) => (isNaNWord(word) ? 1 : word)),
    );
  });

  it("rounds to e4m3 like the CPU, at every value and tie, and back", async () => {
    const codes = Array.from({ length: 127 }, (_, index) => index);
    const exact = codes.map(e4m3ToNumber);
    const ties = exact.slice(1).map((value, index) => (value + (exact[index] ?? 0)) / 2);
    const values = Float32Array.from([...exact, ...ties, ...ties.map((value) => -value), -0, 1e-9]);
    expect(await compute(4, bits(values))).toEqual(Uint32Array.from(values, numberToE4m3));
    expect(floats(await compute(5, Uint32Array.from(codes)))).toEqual(Float32Array.from(exact));
  });

  it("rounds to e2m1 like the CPU, at every value and tie and beside them, and back", async () => {
    const codes = Array.from({ length: 16 }, (_, index) => index);
    const exact = codes.map(e2m1ToNumber);
    const bounds = [0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5, 7];
    const beside = bounds.flatMap((bound) => [bound, bound - 2 ** -20, bound + 2 ** -20]);
    const values = Float32Array.from([...exact, ...beside, ...beside.map((value) => -value), 1e-30, -1e-30]);
    const expected = Uint32Array.from(values, (value) => (Object.is(value, -0) ? 8 : numberToE2m1(value)));
    expect(await compute(6, bits(values))).toEqual(expected);
    expect(floats(await compute(7, Uint32Array.from(codes)))).toEqual(Float32Array.from(exact));
  });
});
