import { openBenchGpu } from "./benchmark.ts";
import { describeMachine } from "./describe-machine.ts";
import type { BenchmarkOptions } from "./options.ts";
import { formatKernelRow } from "./report/format-result.ts";
import type { BenchmarkResult } from "./report/result.ts";
import { runKernels } from "./run-kernels.ts";

const DEFAULT_BUDGET_BYTES = 12 * 1024 ** 3;
const DEFAULT_REPEATS = 5;

/** Everything that is asked for; `say` gets a line for each row. */
export async function runBenchmarks(
  options: BenchmarkOptions,
  say: (line: string) => void,
): Promise<BenchmarkResult> {
  const {
    only = [],
    small = false,
    repeats = DEFAULT_REPEATS,
    gpuBudgetBytes = DEFAULT_BUDGET_BYTES,
  } = options;
  const head = await describeMachine(small);
  using bench = await openBenchGpu(gpuBudgetBytes);
  const kernels = await runKernels(bench, {
    only,
    small,
    repeats,
    onRow: (row) => say(formatKernelRow(row)),
  });
  return { head, ...kernels, endToEnd: [] };
}
