import { type BenchGpu, type Benchmark, measure } from "./benchmark.ts";
import { attentionBenchmarks } from "./kernels/attention.ts";
import { gptqColumnBenchmarks } from "./kernels/gptq-columns.ts";
import { gptqBenchmarks } from "./kernels/gptq.ts";
import { onnxruntimeBenchmarks } from "./kernels/onnxruntime.ts";
import { ceilingProduct, productBenchmarks } from "./kernels/products.ts";
import { roundToNearestBenchmarks } from "./kernels/round-to-nearest.ts";
import { copyBandwidth, transferBenchmarks } from "./kernels/transfers.ts";
import { triangularBenchmarks } from "./kernels/triangular.ts";
import { benchmarkSizes } from "./model-shapes.ts";
import type { BenchmarkResult, MeasuredRow } from "./report/result.ts";

export interface KernelOptions {
  /** Patterns of names; empty takes all. */
  readonly only: readonly string[];
  readonly small: boolean;
  readonly repeats: number;
  /** Is told of every row as it is measured. */
  readonly onRow: (row: MeasuredRow) => void;
}

/** Measures the ceilings, then every benchmark that is asked for. */
export async function runKernels(
  bench: BenchGpu,
  options: KernelOptions,
): Promise<Pick<BenchmarkResult, "ceilings" | "kernels">> {
  const { small, repeats, onRow } = options;
  const sizes = benchmarkSizes(small);
  const all = [
    ...productBenchmarks(sizes),
    ...triangularBenchmarks(sizes),
    ...gptqColumnBenchmarks(sizes),
    ...gptqBenchmarks(sizes),
    ...attentionBenchmarks(sizes),
    ...roundToNearestBenchmarks(sizes),
    ...transferBenchmarks(sizes),
    ...onnxruntimeBenchmarks(sizes),
  ];
  const chosen = chooseBenchmarks(all, options.only);
  const rows: MeasuredRow[] = [];
  for (const benchmark of [ceilingProduct(sizes), copyBandwidth(sizes), ...chosen]) {
    const row = await measure(bench, benchmark, repeats);
    onRow(row);
    rows.push(row);
  }
  return withShares(rows);
}

/** Benchmarks whose name one of the patterns finds. */
function chooseBenchmarks<Named extends Pick<Benchmark, "name">>(
  benchmarks: readonly Named[],
  only: readonly string[],
): Named[] {
  const patterns = only.map((pattern) => new RegExp(pattern));
  return benchmarks.filter(
    ({ name }) => patterns.length === 0 || patterns.some((pattern) => pattern.test(name)),
  );
}

function withShares(rows: readonly MeasuredRow[]): Pick<BenchmarkResult, "ceilings" | "kernels"> {
  const best = (pattern: RegExp) =>
    Math.max(0, ...rows.filter(({ name }) => pattern.test(name)).map(({ rate }) => rate));
  const ceilings = { flop: best(/^ceiling\.product|^product\.f32/), byte: best(/^ceiling\.copy/) };
  const kernels = rows.map((row) => {
    const ceiling = ceilings[row.unit];
    const counts = ceiling > 0 && row.failure === null && !row.name.startsWith("transfer.");
    return { ...row, share: counts ? row.rate / ceiling : null };
  });
  return { ceilings, kernels };
}
