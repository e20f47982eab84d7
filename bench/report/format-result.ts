// Results as tables of plain text.

import { formatBytes } from "../../src/formats/text/format-bytes.ts";
import type {
  BenchmarkHead,
  BenchmarkResult,
  EndToEndFigures,
  EndToEndRow,
  KernelRow,
  MeasuredRow,
  Milliseconds,
} from "./result.ts";

const NAME_WIDTH = 48;
const SHAPE_WIDTH = 40;

/** The whole result: head, kernels, jobs. */
export function formatResult(result: BenchmarkResult): string {
  const { head, ceilings, kernels, endToEnd } = result;
  const ceilingText = `Ceilings of this run: product ${formatRate(ceilings.flop, "flop")}, copy ${formatRate(ceilings.byte, "byte")}`;
  return [
    formatHead(head),
    ceilingText,
    "",
    KERNEL_TITLES,
    ...kernels.map(formatKernelRow),
    ...(endToEnd.length > 0 ? ["", ...endToEnd.map((row) => formatJob(row, ceilings.flop))] : []),
  ].join("\n");
}

function formatHead(head: BenchmarkHead): string {
  const { date, commit, userAgent, adapter, driver = null, features, gpuClock, small } = head;
  const device = [adapter.vendor, adapter.architecture, adapter.device, adapter.description]
    .filter((part) => part !== "")
    .join(" ");
  return [
    `${device}${adapter.software ? " (software)" : ""}, ${date}, commit ${commit}${small ? ", tiny shapes" : ""}`,
    ...(driver === null ? [] : [driver]),
    userAgent,
    `GPU times by ${gpuClock}; features ${features.join(", ")}`,
  ].join("\n");
}

const KERNEL_TITLES = columns("kernel", "shape", ["GPU ms", "least", "wall ms", "rate", "of ceiling"]);

/** One line a kernel. */
export function formatKernelRow(row: MeasuredRow & Partial<Pick<KernelRow, "share">>): string {
  if (row.failure !== null) return columns(row.name, row.shape, [`– ${row.failure}`]);
  const { gpuMs, wallMs, share = null } = row;
  return columns(row.name, row.shape, [
    formatMs(gpuMs?.median),
    formatMs((gpuMs ?? wallMs)?.min),
    formatMs(wallMs?.median),
    formatRate(row.rate, row.unit),
    share === null ? "" : `${(share * 100).toFixed(0)} %`,
  ]);
}

function columns(name: string, shape: string, cells: readonly string[]): string {
  const widths = [10, 10, 10, 15, 10];
  const padded = cells.map((cell, index) => cell.padStart(widths[index] ?? 0));
  return `${name.padEnd(NAME_WIDTH)} ${shape.padEnd(SHAPE_WIDTH)} ${padded.join(" ")}`.trimEnd();
}

function formatMs(milliseconds: Milliseconds["median"] | undefined): string {
  return milliseconds === undefined ? "–" : milliseconds.toPrecision(4);
}

/** "41.1 TFLOP/s", "3.2 GB/s": powers of 1000, as makers of GPUs count. */
export function formatRate(perSecond: number, unit: KernelRow["unit"]): string {
  const prefixes = ["", "k", "M", "G", "T", "P"];
  const step = perSecond < 1 ? 0 : Math.min(Math.floor(Math.log10(perSecond) / 3), prefixes.length - 1);
  return `${(perSecond / 1000 ** step).toPrecision(3)} ${prefixes[step]}${unit === "flop" ? "FLOP" : "B"}/s`;
}

/** A few lines a job; `flopPerSecond` is the rate that the arithmetic floor is taken at. */
export function formatJob(row: EndToEndRow, flopPerSecond: number): string {
  const title = `${row.name} (${row.scheme}${row.samples > 0 ? `, ${row.samples} × ${row.tokensEach} tokens` : ""})`;
  if (!row.figures) return `${title}: ${row.failure}`;
  const { sourceBytes, resultBytes, seconds, alone, ratio, floor, worstSubmitMs, gpuBusySeconds } =
    row.figures;
  const against = ratio === null ? "" : `; the job takes ${ratio.toFixed(2)} times the slowest`;
  return [
    title,
    `  ${formatBytes(sourceBytes)} in, ${formatBytes(resultBytes)} out; ${formatSeconds(seconds)}`,
    `  alone: ${formatSeconds(alone)}${against}`,
    ...(floor ? [formatFloor(seconds, floor, flopPerSecond)] : []),
    `  peaks: ${formatPeaks(row, row.figures)}; longest submit ${worstSubmitMs.toFixed(1)} ms; GPU busy ${gpuBusySeconds.toFixed(1)} s`,
  ].join("\n");
}

function formatPeaks({ gpuBudgetBytes, hostPeaks }: EndToEndRow, figures: EndToEndFigures): string {
  const gpu = `GPU ${formatBytes(figures.peakGpuBytes)} of ${formatBytes(gpuBudgetBytes)}`;
  const stored = `IndexedDB ${formatBytes(figures.peakStoredBytes)}`;
  if (!hostPeaks) return `${gpu}, ${stored}`;
  const host = `host ${formatBytes(hostPeaks.page)} in the page, ${formatBytes(hostPeaks.gpuProcess)} in the GPU process`;
  return `${gpu}, ${stored}, ${host}`;
}

/** Seconds that the arithmetic alone would take at the rate of the largest product. */
function formatFloor(
  seconds: EndToEndFigures["seconds"],
  floor: NonNullable<EndToEndFigures["floor"]>,
  flopPerSecond: number,
): string {
  const phases = Object.entries(floor);
  const least = Object.fromEntries(phases.map(([phase, flop]) => [phase, flop / flopPerSecond]));
  const sum = (of: Readonly<Record<string, number>>) =>
    phases.reduce((total, [phase]) => total + (of[phase] ?? 0), 0);
  return `  arithmetic floor: ${formatSeconds(least)}; the phases take ${(sum(seconds) / sum(least)).toFixed(2)} times as long`;
}

function formatSeconds(seconds: Readonly<Record<string, number | null>>): string {
  return Object.entries(seconds)
    .filter((entry): entry is [string, number] => entry[1] !== null)
    .map(([name, value]) => `${name} ${value.toFixed(2)} s`)
    .join(", ");
}
