import type { BenchmarkResult } from "./report/result.ts";
import type { ForwardProducts } from "../src/formats/recipe/forward-products.ts";

declare global {
  /** The benchmark page's door for scripts. */
  var layerpressBench: (options?: BenchmarkOptions) => Promise<BenchmarkResult>;
}

/** What `layerpressBench` takes. */
export interface BenchmarkOptions {
  /** Regular expressions of kernels' names; empty takes all, ["^$"] only the ceilings. */
  readonly only?: readonly string[];
  /** Tiny shapes, to try the page itself. */
  readonly small?: boolean;
  /** Measurements of each kernel; default 5. */
  readonly repeats?: number;
  /** GPU memory that kernels may use; default 12 GiB. */
  readonly gpuBudgetBytes?: number;
  /** Whole jobs, after the kernels. */
  readonly endToEnd?: readonly EndToEndOptions[];
}

/** A job as the page would run it, on a model whose weights may be noise. */
export interface EndToEndOptions {
  /** For the report: "llama-3.1-8b, 1 layer". */
  readonly name: string;
  /** Model folder, as one would type it. */
  readonly address: string;
  /** Preset: "W4A16". */
  readonly scheme: string;
  /** Sequences that GPTQ calibrates with; 0 rounds to nearest. */
  readonly samples?: number;
  /** Tokens of each; default 2048. */
  readonly tokensEach?: number;
  /** As the calibration's option; default AUTO. */
  readonly forwardProducts?: ForwardProducts;
  readonly gpuBudgetBytes: number;
}
