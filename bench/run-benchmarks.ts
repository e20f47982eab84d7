import { DeviceLimitError } from "../src/errors.ts";
import { openBenchGpu } from "./benchmark.ts";
import { describeMachine } from "./describe-machine.ts";
import type { BenchmarkOptions } from "./options.ts";
import { runJob } from "./end-to-end/run-job.ts";
import { formatJob, formatKernelRow } from "./report/format-result.ts";
import type { BenchmarkResult, EndToEndRow, MeasuredRow } from "./report/result.ts";
import { type KernelOptions, runKernels } from "./run-kernels.ts";

const DEFAULT_BUDGET_BYTES = 12 * 1024 ** 3;
const DEFAULT_REPEATS = 5;

/**
 * Everything that is asked for; `say` gets a line for each row.
 * @throws DeviceLimitError without a GPU, unless tiny shapes are asked for.
 */
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
  if (head.adapter.software && !small) {
    throw new DeviceLimitError(
      "This is a software adapter, a thousand times slower than a GPU: published shapes would take hours. Tiny shapes (--small) show that all works.",
    );
  }
  const kernelOptions = { only, small, repeats, onRow: (row: MeasuredRow) => say(formatKernelRow(row)) };
  const measured = await measureKernels(gpuBudgetBytes, kernelOptions);
  const endToEnd: EndToEndRow[] = [];
  for (const job of options.endToEnd ?? []) {
    const row = await runJob(job);
    say(formatJob(row, measured.ceilings.flop));
    endToEnd.push(row);
  }
  return { head, ...measured, endToEnd };
}

/** On a device of its own, which is gone before jobs ask for theirs. */
async function measureKernels(budgetBytes: number, options: KernelOptions) {
  using bench = await openBenchGpu(budgetBytes);
  return await runKernels(bench, options);
}
