// Layers of the models that are measured, by their published config.json.

export interface ModelShape {
  readonly name: string;
  readonly hidden: number;
  readonly intermediate: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
}

const PUBLISHED: readonly ModelShape[] = [
  { name: "llama-3.2-1b", hidden: 2048, intermediate: 8192, heads: 32, kvHeads: 8, headDim: 64 },
  { name: "llama-3.1-8b", hidden: 4096, intermediate: 14_336, heads: 32, kvHeads: 8, headDim: 128 },
  { name: "llama-3.3-70b", hidden: 8192, intermediate: 28_672, heads: 64, kvHeads: 8, headDim: 128 },
];

/** For a software adapter: every path of the kernels in a second or two. */
const SMALL: readonly ModelShape[] = [
  { name: "small", hidden: 256, intermediate: 512, heads: 4, kvHeads: 2, headDim: 64 },
];

export interface Sizes {
  readonly models: readonly ModelShape[];
  /** Tokens of a sequence. */
  readonly tokens: number;
  /** Product that stands for the ceiling. */
  readonly ceiling: { readonly m: number; readonly n: number; readonly k: number };
  readonly choleskyOrders: readonly number[];
  readonly copyBytes: number;
  readonly transferBytes: number;
  /** Source bytes of a tile that is rounded to nearest; quantize/rtn/plan-tiling.ts's largest. */
  readonly tileBytes: number;
}

/** What is measured; `small` for tests. */
export function benchmarkSizes(small: boolean): Sizes {
  if (small) {
    return {
      models: SMALL,
      tokens: 128,
      ceiling: { m: 256, n: 256, k: 512 },
      choleskyOrders: [256],
      copyBytes: 1024 ** 2,
      transferBytes: 1024 ** 2,
      tileBytes: 64 * 1024,
    };
  }
  return {
    models: PUBLISHED,
    tokens: 2048,
    ceiling: { m: 4096, n: 4096, k: 8192 },
    choleskyOrders: [2048, 4096, 8192, 14_336, 28_672],
    copyBytes: 1024 ** 3,
    transferBytes: 256 * 1024 ** 2,
    tileBytes: 16 * 1024 ** 2,
  };
}

/** Linears of a layer that differ in shape: rows are outputs, columns inputs. */
export function layerLinears({ hidden, intermediate, heads, kvHeads, headDim }: ModelShape) {
  return [
    { name: "q_proj", rows: heads * headDim, columns: hidden },
    { name: "k_proj", rows: kvHeads * headDim, columns: hidden },
    { name: "up_proj", rows: intermediate, columns: hidden },
    { name: "down_proj", rows: hidden, columns: intermediate },
  ];
}

export function shapeText(...sizes: readonly number[]): string {
  return sizes.join(" × ");
}
