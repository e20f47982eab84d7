import { afterAll, beforeAll, expect, it } from "vitest";
import { DTYPE_BITS } from "../formats/numbers/dtype.ts";
import { type Fold, foldRows } from "../formats/weights/fold.ts";
import { UploadRing } from "../gpu/staging/upload-ring.ts";
import type { Linear } from "../model/weight-description.ts";
import { openTestGpu, type TestGpu } from "../testing/test-gpu/open-test-gpu.ts";
import { randomNormal, seededRandom } from "../testing/random.ts";
import { canFoldOnloaded, foldOnloaded } from "./fold-onloaded.ts";
import { memoryLayer } from "./host-layer.ts";
import { onloadLayer } from "./layer-weights.ts";

const COLUMNS = 40;
const random = seededRandom(3);

let test: TestGpu;
beforeAll(async () => {
  test = await openTestGpu();
});
afterAll(() => test[Symbol.dispose]());

/** Any finite bits: zeros, subnormals and the largest numbers among them. */
function anyBits(dtype: "BF16" | "F32", count: number): Uint8Array<ArrayBuffer> {
  const bits = Uint32Array.from({ length: count }, (_, at) => {
    const exponent = at % 4 === 0 ? Math.floor(random() * 255) : 112 + Math.floor(random() * 16);
    const magnitude = at % 11 === 0 ? 0 : (exponent << 23) | Math.floor(random() * 2 ** 23);
    return (magnitude | (random() < 0.5 ? 0x80000000 : 0)) >>> 0;
  });
  return new Uint8Array((dtype === "F32" ? bits : Uint16Array.from(bits, (each) => each >>> 16)).buffer);
}

/** Mostly around 1, where quotients lie between two numbers as often as they can. */
function factors(count: number): Float32Array<ArrayBuffer> {
  const powers = randomNormal(count, random, 1);
  return Float32Array.from(powers, (power, at) => Math.exp(at % 7 === 0 ? 20 * power : power));
}

function fold(tensor: string, axis: Fold["axis"], count: number): Fold {
  return { tensor, axis, factors: factors(count), divides: axis === "rows", offset: 0 };
}

function linear(module: string, rows: number, firstRow = 0): Linear {
  const source = { tensor: `${module.split(".")[0]}.weight`, shape: [24, COLUMNS], firstRow };
  return { module, rows, columns: COLUMNS, bias: null, source };
}

it.each(["BF16", "F32"] as const)("folds %s on the GPU to the bits that the host folds", async (dtype) => {
  using uploads = await UploadRing.create(test.gpu, { pieceBytes: 64 * 1024, pieces: 2 });
  const names = ["both", "multiplied", "divided"];
  const tensors = new Map(names.map((name) => [`${name}.weight`, anyBits(dtype, 24 * COLUMNS)]));
  const norm = new Uint8Array(Float32Array.of(3, 5).buffer);
  const host = memoryLayer([
    ...Array.from(tensors, ([name, bytes]) => [name, { dtype, columns: COLUMNS, bytes }] as const),
    ["norm", { dtype: "F32", columns: 1, bytes: norm }],
  ]);
  const folds = [
    fold("both.weight", "columns", COLUMNS),
    fold("both.weight", "rows", 24),
    fold("multiplied.weight", "columns", COLUMNS),
    fold("divided.weight", "rows", 24),
    fold("norm", "rows", 2),
  ];
  // Experts may lie in one tensor.
  const linears = [
    linear("both.0", 16),
    linear("both.1", 8, 16),
    linear("multiplied", 24),
    linear("divided", 24),
  ];
  expect(canFoldOnloaded(host, linears, folds)).toBe(true);
  const parts = { linears, vectors: ["norm"] };
  const residency = { residentBytes: Infinity, tileBytes: 4096 };
  using weights = await onloadLayer(test.gpu, uploads, host, parts, residency);
  host.tensors.get("norm")?.bytes.write(0, new Uint8Array(Float32Array.of(7, 9).buffer));
  await foldOnloaded({ gpu: test.gpu, uploads, host }, weights, parts, folds);
  for (const { module, rows, source } of linears) {
    const bytes = tensors.get(source.tensor);
    if (!bytes) throw new Error("the tensor is there");
    const own = folds.filter(({ tensor }) => tensor === source.tensor);
    const rowBytes = (COLUMNS * DTYPE_BITS[dtype]) / 8;
    const expected = foldRows(bytes, { dtype, columns: COLUMNS, firstRow: 0 }, own).subarray(
      source.firstRow * rowBytes,
      (source.firstRow + rows) * rowBytes,
    );
    using copy = await test.empty("copy", rows * rowBytes);
    await weights.copyRows(module, 0, rows, copy);
    expect(await test.readBytes(copy, rows * rowBytes)).toEqual(expected);
  }
  expect(await test.readFloats(await weights.vector("norm"), 2)).toEqual(Float32Array.of(7, 9));
});

it("leaves what needs more than a product and a quotient to the host", () => {
  const host = memoryLayer([["a.weight", { dtype: "F16", columns: COLUMNS, bytes: new Uint8Array() }]]);
  const twice = memoryLayer([["a.weight", { dtype: "BF16", columns: COLUMNS, bytes: new Uint8Array() }]]);
  const columns = fold("a.weight", "columns", COLUMNS);
  expect(canFoldOnloaded(host, [linear("a", 24)], [columns])).toBe(false);
  expect(canFoldOnloaded(twice, [linear("a", 24)], [columns])).toBe(true);
  expect(canFoldOnloaded(twice, [linear("a", 24)], [columns, columns])).toBe(false);
});
