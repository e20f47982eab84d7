import { describe, expect, it } from "vitest";
import type { ModuleReport } from "../api/compressor-api.ts";
import { lossTotals, quantizationReport, type ReportFacts } from "./quantization-report.ts";

function reported(module: string, loss: number, rtnLoss: number, rounded = false): ModuleReport {
  const solved = { dampeningFrac: 0.01, attempts: 1, deadColumns: 0, seconds: 2 };
  return { module, loss, rtnLoss, tokens: 64, rounded, ...solved };
}

const FACTS: ReportFacts = {
  source: { label: "owner/tiny @ 0e9e39f", repository: "owner/tiny", revision: "0e9e39f" },
  schemes: ["W4A16"],
  recipeYaml: "default_stage: {}\n",
  sourceBytes: 1000,
  bitsPerWeight: 4.125,
  quantizedModules: 2,
  ignored: ["lm_head"],
  serverNotes: [],
  calibration: null,
  mappings: [],
  modules: [],
  peakGpuBytes: 10,
  gpuBudgetBytes: 20,
  longestSubmits: [{ milliseconds: 3, predictedMs: 2, kernels: ["gpu.matmul × 1"] }],
  gpuBusySeconds: 1,
  seconds: { total: 1 },
};

describe("the quantization report", () => {
  it("says what a server would refuse, where one would", () => {
    const serverNotes = [
      { server: "vLLM", modules: ["a", "b"], sentence: "vLLM will refuse this." },
    ] as const;
    expect(JSON.parse(quantizationReport({ ...FACTS, serverNotes }))).toMatchObject({
      server_notes: serverNotes,
    });
    expect(JSON.parse(quantizationReport(FACTS))).not.toHaveProperty("server_notes");
  });

  it("names the module that kept the largest share of rounding's error", () => {
    const totals = lossTotals([reported("a", 1, 4), reported("b", 3, 4), reported("c", 1, 2)]);
    expect(totals).toMatchObject({ loss: 5, rtn_loss: 10, worst_module: "b", worst_ratio: 0.75 });
  });

  it("leaves experts out that were rounded to nearest, and says how many they are", () => {
    const modules = [reported("a", 1, 4), reported("experts.3", 0, 0, true)];
    expect(lossTotals(modules)).toMatchObject({ modules: 1, rounded_to_nearest: 1, loss: 1, rtn_loss: 4 });
    const report: unknown = JSON.parse(quantizationReport({ ...FACTS, modules }));
    expect(report).toMatchObject({
      modules: [
        { module: "a", loss: 1, tokens: 64, rounded_to_nearest: false },
        { module: "experts.3", loss: null, rtn_loss: null, rounded_to_nearest: true },
      ],
    });
  });

  it("tells what was moved between tensors, and by how much", () => {
    const mappings = [
      { modifier: "SmoothQuantModifier", smooth: "norm", balance: ["q", "k"], scales: [0.5, 4] } as const,
      {
        modifier: "AWQModifier",
        smooth: "up",
        balance: ["down"],
        scales: [0.25, 2],
        search: { ratio: 0.5, duo: true, loss: 3, unscaledLoss: 4 },
      } as const,
    ];
    expect(JSON.parse(quantizationReport({ ...FACTS, mappings }))).toMatchObject({
      mappings: [
        { smooth_layer: "norm", balance_layers: ["q", "k"], least_scale: 0.5, largest_scale: 4 },
        { smooth_layer: "up", ratio: 0.5, duo_scaling: true, loss: 3, unscaled_loss: 4 },
      ],
    });
  });

  it("counts a module without any error as none", () => {
    expect(lossTotals([reported("a", 0, 0)]).worst_ratio).toBe(0);
  });

  it("has no totals where nothing was calibrated", () => {
    expect(JSON.parse(quantizationReport(FACTS))).toMatchObject({ layout: 1, totals: null, modules: [] });
  });

  it("carries every module's figures", () => {
    const text = quantizationReport({ ...FACTS, modules: [reported("model.layers.0.mlp.down_proj", 1, 4)] });
    expect(JSON.parse(text)).toMatchObject({
      modules: [{ module: "model.layers.0.mlp.down_proj", loss: 1, rtn_loss: 4, dampening_frac: 0.01 }],
      totals: { worst_ratio: 0.25 },
    });
  });
});
