import { expect, it } from "vitest";
import type { Gpu } from "../gpu.ts";
import type { Kernel } from "../kernel.ts";
import type { LedgerBuffer } from "../memory.ts";
import { forwardProduct, productInParts } from "./forward-product.ts";
import type { ProductSize, StrassenScratch } from "./strassen-size.ts";

const LARGE: ProductSize = { m: 8192, n: 4096, k: 4096 };

/** The kernels that a product is made of on a GPU whose scratch was made for products of a size. */
async function kernelsOf(product: typeof forwardProduct, size: ProductSize, largest: ProductSize) {
  const kernels: string[] = [];
  const buffer = { bytes: 2 ** 30 } as LedgerBuffer;
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
  const tuning = { largeProducts: true, largeFrom: 1, matrices: null, strassen };
  const gpu = { queue, tuning, device: { limits: {} } } as unknown as Gpu;
  const { n, k } = size;
  const sides = { a: { buffer, stride: k }, b: { buffer, stride: k }, c: { buffer, stride: n } };
  await product(gpu, { ...size, ...sides, bDtype: "BF16" });
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
