import { describe, expect, it } from "vitest";
import type { Gpu } from "../gpu.ts";
import type { Kernel } from "../kernel.ts";
import type { LedgerBuffer } from "../memory.ts";
import { forwardProduct, forwardProducts, productInParts } from "./forward-product.ts";
import type { LinearProduct } from "./matmul.ts";
import type { ProductSize, StrassenScratch } from "./strassen/strassen-size.ts";

const LARGE: ProductSize = { m: 8192, n: 4096, k: 4096 };

const buffer = { bytes: 2 ** 30 } as LedgerBuffer;

/** A GPU whose scratch was made for products of a size, and the kernels that it runs. */
function gpuThatTells(largest: ProductSize, largeFrom = 1) {
  const kernels: string[] = [];
  const strassen: StrassenScratch = {
    largest,
    chunk: LARGE,
    left: buffer,
    right: buffer,
    products: buffer,
    columnSizes: buffer,
    rowSizes: buffer,
    inTurn: async (record) => await record(),
  };
  const queue = {
    run: async ({ name }: Kernel) => await Promise.resolve(void kernels.push(name)),
    *split(_: Kernel, count: number) {
      yield { first: 0, end: count };
    },
  };
  const tuning = { largeProducts: true, largeFrom, matrices: null, strassen };
  const adapter = { software: false };
  return { kernels, gpu: { queue, tuning, adapter, device: { limits: {} } } as unknown as Gpu };
}

function productOf(size: ProductSize) {
  const { n, k } = size;
  const sides = { a: { buffer, stride: k }, b: { buffer, stride: k }, c: { buffer, stride: n } };
  return { ...size, ...sides, bDtype: "BF16" } as const;
}

/** The kernels that a product is made of. */
async function kernelsOf(product: typeof forwardProduct, size: ProductSize, largest: ProductSize) {
  const { kernels, gpu } = gpuThatTells(largest);
  await product(gpu, productOf(size));
  return [...new Set(kernels)];
}

it("takes Strassen's products for large ones that the scratch holds, and never in parts", async () => {
  const all = ["columns", "rows", "operand"].map((name) => `gpu.strassen-${name}`);
  const strassens = [...all, "gpu.matmul-large", "gpu.strassen-result"];
  expect(await kernelsOf(forwardProduct, LARGE, LARGE)).toEqual(strassens);
  const wide = { ...LARGE, n: 28_672 };
  expect(await kernelsOf(forwardProduct, wide, { ...LARGE, n: 14_336 })).toEqual(strassens);
  const plain = ["gpu.matmul-large"];
  expect(await kernelsOf(forwardProduct, { ...LARGE, m: 256 }, LARGE)).toEqual(plain);
  expect(await kernelsOf(forwardProduct, LARGE, { ...LARGE, m: 2048 })).toEqual(plain);
  expect(await kernelsOf(productInParts, { ...LARGE, k: 16_384 }, { ...LARGE, k: 16_384 })).toEqual(plain);
});

describe("forwardProducts", () => {
  const elsewhere = { bytes: 2 ** 30 } as LedgerBuffer;
  const KEYS = { m: 2048, n: 1024, k: 8192 };
  const bothOf = (size: ProductSize, other: Partial<LinearProduct> = {}) => {
    const first = productOf(size);
    const row = { buffer, stride: 4 * size.n };
    return [
      { ...first, c: row },
      { ...first, c: { ...row, offset: size.n }, ...other },
    ] as Parameters<typeof forwardProducts>[1];
  };
  const kernelsOfBoth = async (...both: Parameters<typeof bothOf>) => {
    const { kernels, gpu } = gpuThatTells(LARGE, 96);
    await forwardProducts(gpu, bothOf(...both));
    return kernels;
  };

  it("takes both at once where they are alike, and fill large tiles together at least", async () => {
    expect(await kernelsOfBoth(KEYS)).toEqual(["gpu.matmul-large-pair"]);
    expect(await kernelsOfBoth({ ...KEYS, m: 1024 })).toEqual(["gpu.matmul-large-pair"]);
    expect(await kernelsOfBoth({ ...KEYS, m: 512 })).toEqual(["gpu.matmul", "gpu.matmul"]);
    expect(await kernelsOfBoth({ ...KEYS, m: 4096 })).toEqual(["gpu.matmul-large", "gpu.matmul-large"]);
  });

  it("takes one after the other what is not alike, and what Strassen's products take", async () => {
    const two = ["gpu.matmul-large", "gpu.matmul-large"];
    expect(await kernelsOfBoth(KEYS, { n: 2048 })).toEqual(two);
    expect(await kernelsOfBoth(KEYS, { b: { buffer, stride: 8200 } })).toEqual(two);
    expect(await kernelsOfBoth(KEYS, { c: { buffer: elsewhere, stride: 4096, offset: 1024 } })).toEqual(two);
    expect(await kernelsOfBoth(LARGE)).not.toContain("gpu.matmul-large-pair");
  });
});
