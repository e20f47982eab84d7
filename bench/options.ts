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
}
