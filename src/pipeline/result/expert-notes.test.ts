import { describe, expect, it } from "vitest";
import type { ModuleReport } from "../../api/compressor-api.ts";
import { expertNotes } from "./expert-notes.ts";

function report(expert: number, part: string, tokens: number): ModuleReport {
  const figures = {
    loss: 0,
    rtnLoss: 0,
    dampeningFrac: 0.01,
    attempts: 1,
    rounded: tokens < 64,
    deadColumns: 0,
    seconds: 0,
  };
  return { module: `model.layers.0.mlp.experts.${expert}.${part}`, tokens, ...figures };
}

const routed = { moe_calibrate_all_experts: false, moe_min_tokens_per_expert: 10 };
const reports = [
  report(0, "up_proj", 40),
  report(0, "down_proj", 40),
  report(1, "up_proj", 0),
  report(1, "down_proj", 0),
  report(12, "up_proj", 9),
  report(12, "down_proj", 9),
];

describe("expertNotes", () => {
  it("name each expert that saw no token, and each that saw too few, once", () => {
    const [none, few, ...more] = expertNotes(reports, routed);
    expect(none).toMatch(/^1 expert was rounded .* no token .*: model\.layers\.0\.mlp\.experts\.1\. Use/);
    expect(few).toMatch(/^1 expert was rounded .*\(10\).*: model\.layers\.0\.mlp\.experts\.12\. Use/);
    expect(more).toEqual([]);
  });

  it("shorten long lists", () => {
    const many = Array.from({ length: 20 }, (_, expert) => report(expert, "up_proj", 0));
    expect(expertNotes(many, routed)[0]).toContain("experts.7 and 12 more");
  });

  it("say nothing where all experts saw all tokens, or nothing was calibrated", () => {
    expect(expertNotes(reports, { ...routed, moe_calibrate_all_experts: true })).toEqual([]);
    expect(expertNotes([], null)).toEqual([]);
  });
});
