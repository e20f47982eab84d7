import { describe, expect, it } from "vitest";
import { compareResults, formatComparison } from "./compare-results.ts";
import type { BenchmarkHead, BenchmarkResult, EndToEndRow, KernelRow } from "./result.ts";

const HEAD: BenchmarkHead = {
  date: "2026-11-23T04:00:00.000Z",
  commit: "abc1234",
  userAgent: "a browser",
  adapter: { vendor: "nvidia", architecture: "hopper", device: "", description: "", software: false },
  features: [],
  limits: {},
  gpuClock: "timestamp-query",
  small: false,
};

function kernel(name: string, rate: number, failure: string | null = null): KernelRow {
  const ms = { median: 1, min: 1 };
  return {
    name,
    shape: "",
    unit: "flop",
    work: 1,
    gpuMs: ms,
    wallMs: ms,
    rate,
    share: 1,
    repeats: 1,
    failure,
  };
}

function job(name: string, total: number | null): EndToEndRow {
  const asked = { name, address: "", scheme: "W4A16", samples: 0, tokensEach: 0, gpuBudgetBytes: 0 };
  if (total === null) return { ...asked, figures: null, failure: "The network is gone." };
  const figures = {
    sourceBytes: 1,
    resultBytes: 1,
    seconds: { quantizing: total, total },
    alone: { network: 1, gpu: 1, opfs: 1 },
    ratio: total,
    floor: null,
    peakGpuBytes: 1,
    worstSubmitMs: 1,
    longestSubmits: [],
    gpuBusySeconds: 1,
    peakStoredBytes: 1,
    modules: [],
    timeline: [],
  };
  return { ...asked, figures, failure: null };
}

function result(parts: Partial<BenchmarkResult>): BenchmarkResult {
  return { head: HEAD, ceilings: { flop: 1, byte: 1 }, kernels: [], endToEnd: [], ...parts };
}

describe("comparison of two results", () => {
  it("says how many times faster a kernel and a job became", () => {
    const before = result({ kernels: [kernel("product", 20e12)], endToEnd: [job("a model", 30)] });
    const after = result({ kernels: [kernel("product", 50e12)], endToEnd: [job("a model", 20)] });
    const { warnings, rows } = compareResults(before, after);
    expect(warnings).toEqual([]);
    expect(rows).toEqual([
      { name: "product", before: "20.0 TFLOP/s", after: "50.0 TFLOP/s", speedup: 2.5 },
      { name: "a model", before: "30.00 s", after: "20.00 s", speedup: 1.5 },
    ]);
  });

  it("keeps rows that one of them lacks, or that failed, without a speedup", () => {
    const before = result({ kernels: [kernel("gone", 1e9), kernel("broken", 0, "does not fit")] });
    const after = result({
      kernels: [kernel("new", 1e9), kernel("broken", 2e9)],
      endToEnd: [job("a model", null)],
    });
    const { rows } = compareResults(before, after);
    expect(rows).toEqual([
      { name: "new", before: null, after: "1.00 GFLOP/s", speedup: null },
      { name: "broken", before: null, after: "2.00 GFLOP/s", speedup: null },
      { name: "gone", before: "1.00 GFLOP/s", after: null, speedup: null },
      { name: "a model", before: null, after: null, speedup: null },
    ]);
  });

  it("warns of another adapter, another clock, and tiny shapes", () => {
    const other = {
      ...HEAD,
      adapter: { ...HEAD.adapter, vendor: "apple", architecture: "" },
      gpuClock: "wall",
      small: true,
    } as const;
    expect(compareResults(result({}), result({ head: other })).warnings).toEqual([
      "The adapters differ: nvidia hopper and apple.",
      "The clocks differ: timestamp-query and wall.",
      "The shapes differ: published and tiny.",
    ]);
  });

  it("lines the columns up", () => {
    const rows = [
      { name: "product", before: "20.0 TFLOP/s", after: "50.0 TFLOP/s", speedup: 2.5 },
      { name: "a", before: null, after: "1.00 GB/s", speedup: null },
    ];
    expect(formatComparison({ warnings: ["They differ."], rows })).toBe(
      [
        "They differ.",
        "product   20.0 TFLOP/s   50.0 TFLOP/s    2.50 ×",
        "a                    –      1.00 GB/s",
      ].join("\n"),
    );
  });
});
