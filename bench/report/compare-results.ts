// Two results side by side: what became faster, what slower, and whether the two can be compared at all.

import { formatRate } from "./format-result.ts";
import type { BenchmarkHead, BenchmarkResult, EndToEndRow, KernelRow } from "./result.ts";

export interface ComparedRow {
  readonly name: string;
  /** Figures for people: rates of kernels, seconds of jobs; null where a result lacks the row or it failed. */
  readonly before: string | null;
  readonly after: string | null;
  /** How many times faster the second is; null if one of them is missing. */
  readonly speedup: number | null;
}

export interface Comparison {
  /** Differences that make the figures incomparable, each a sentence. */
  readonly warnings: readonly string[];
  readonly rows: readonly ComparedRow[];
}

/** Rows of both results by name, in the order of the second, then what only the first has. */
export function compareResults(before: BenchmarkResult, after: BenchmarkResult): Comparison {
  return {
    warnings: compareHeads(before.head, after.head),
    rows: [
      ...pair(before.kernels, after.kernels).map(compareKernels),
      ...pair(before.endToEnd, after.endToEnd).map(compareJobs),
    ],
  };
}

interface Pair<Row> {
  readonly name: string;
  readonly before: Row | undefined;
  readonly after: Row | undefined;
}

function pair<Row extends { readonly name: string }>(
  before: readonly Row[],
  after: readonly Row[],
): Pair<Row>[] {
  const rows = (of: readonly Row[]) => new Map(of.map((row) => [row.name, row]));
  const [first, second] = [rows(before), rows(after)];
  return [...new Set([...second.keys(), ...first.keys()])].map((name) => ({
    name,
    before: first.get(name),
    after: second.get(name),
  }));
}

function compareKernels({ name, before, after }: Pair<KernelRow>): ComparedRow {
  const rate = (row: KernelRow | undefined) => (row && row.failure === null ? row.rate : null);
  const [first, second] = [rate(before), rate(after)];
  const unit = (after ?? before)?.unit ?? "flop";
  return {
    name,
    before: first === null ? null : formatRate(first, unit),
    after: second === null ? null : formatRate(second, unit),
    speedup: first === null || second === null ? null : second / first,
  };
}

function compareJobs({ name, before, after }: Pair<EndToEndRow>): ComparedRow {
  const seconds = (row: EndToEndRow | undefined) => row?.figures?.seconds["total"] ?? null;
  const [first, second] = [seconds(before), seconds(after)];
  return {
    name,
    before: first === null ? null : `${first.toFixed(2)} s`,
    after: second === null ? null : `${second.toFixed(2)} s`,
    speedup: first === null || second === null ? null : first / second,
  };
}

function compareHeads(before: BenchmarkHead, after: BenchmarkHead): string[] {
  const adapter = ({ adapter: { vendor, architecture, device, description } }: BenchmarkHead) =>
    [vendor, architecture, device, description].filter((part) => part !== "").join(" ");
  const told: [string, string, string][] = [
    ["adapters", adapter(before), adapter(after)],
    ["clocks", before.gpuClock, after.gpuClock],
    ["shapes", before.small ? "tiny" : "published", after.small ? "tiny" : "published"],
  ];
  return told
    .filter(([, first, second]) => first !== second)
    .map(([what, first, second]) => `The ${what} differ: ${first} and ${second}.`);
}

/** The comparison as a table of plain text. */
export function formatComparison({ warnings, rows }: Comparison): string {
  const width = Math.max(...rows.map(({ name }) => name.length), 0);
  const lines = rows.map(({ name, before, after, speedup }) =>
    [
      name.padEnd(width),
      (before ?? "–").padStart(14),
      (after ?? "–").padStart(14),
      speedup === null ? "" : `${speedup.toFixed(2)} ×`.padStart(9),
    ]
      .join(" ")
      .trimEnd(),
  );
  return [...warnings, ...lines].join("\n");
}
