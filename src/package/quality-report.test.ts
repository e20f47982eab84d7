import { describe, expect, it } from "vitest";
import { type CardFacts, modelCard } from "./model-card.ts";
import { cardWithQuality, type MeasuredQuality, reportWithQuality } from "./quality-report.ts";

const QUALITY: MeasuredQuality = {
  text: "novel.txt",
  windowing: "Windows of 512 tokens that do not overlap.",
  windows: 4,
  tokens: 2044,
  model: { label: "result", perplexity: 7.4, weightBytes: 4 * 1024 ** 3, bitsPerWeight: 4.16 },
  original: { label: "original", perplexity: 7.1, weightBytes: 15 * 1024 ** 3, bitsPerWeight: 16 },
  kl: { mean: 0.021, worst: 0.9 },
  greedyAgreement: 0.93,
  layers: [
    { layer: "model.layers.0", relativeError: 0.01 },
    { layer: "model.layers.1", relativeError: 0.034 },
  ],
  forwardPass: "layerpress",
  provider: "webgpu",
  check: {
    tokens: 128,
    layers: ["model.layers.0", "model.layers.1"],
    layer: "model.layers.1",
    statesDifference: 2e-6,
    logits: { tokens: 16, ids: 1024 },
    logitsDifference: 3e-6,
    agrees: true,
  },
  seconds: 42,
  notes: [],
};

const FACTS: CardFacts = {
  name: "tiny-W4A16",
  sourceName: "tiny",
  repository: null,
  revision: null,
  schemes: ["W4A16"],
  recipeYaml: "default_stage: {}\n",
  sourceBytes: 100,
  resultBytes: 30,
  bitsPerWeight: 4.16,
  quantizedModules: 14,
  isPlain: false,
  ignored: ["lm_head"],
  calibration: null,
  totals: null,
};

const worse = { ...QUALITY, model: { ...QUALITY.model, perplexity: 9.9 } };

describe("a measured quality", () => {
  it("joins the report, whose other fields stay as they are", () => {
    const report = `${JSON.stringify({ layout: 1, schemes: ["W4A16"] }, null, 2)}\n`;
    const written = JSON.parse(reportWithQuality(report, QUALITY));
    expect(written).toMatchObject({
      layout: 1,
      schemes: ["W4A16"],
      quality: {
        tokens: 2044,
        windowing: QUALITY.windowing,
        perplexity: 7.4,
        bits_per_weight: 4.16,
        original: { perplexity: 7.1, weight_bytes: 15 * 1024 ** 3 },
        kl: { mean: 0.021, worst: 0.9 },
        greedy_agreement: 0.93,
        layers: [
          { layer: "model.layers.0", relative_error: 0.01 },
          { layer: "model.layers.1", relative_error: 0.034 },
        ],
      },
    });
  });

  it("is a section of the card, before how to load the model", () => {
    const card = cardWithQuality(modelCard(FACTS, null), QUALITY);
    expect(card).toContain("| perplexity | 7.4000 | 7.1000 |");
    expect(card).toContain("KL divergence from the original is 0.0210 nats in the mean");
    expect(card).toContain("3.40 % after `model.layers.1`");
    expect(card).toContain("2044 tokens of `novel.txt` in 4 windows. ");
    expect(cardWithQuality(card, { ...QUALITY, windows: 1 })).toContain("of `novel.txt` in 1 window. ");
    expect(card).toContain("Measured by Layerpress’s forward pass on 2044 tokens");
    expect(card).toContain("what these layers add differs by 2.0e-6 of its size at most, logits by 3.0e-6.");
    expect(card.indexOf("## Quality")).toBeLessThan(card.indexOf("## Use"));
    expect(card.indexOf("## Quality")).toBeGreaterThan(card.indexOf("| bits per quantized weight"));
  });

  it("replaces what was measured before, in both", () => {
    const card = modelCard(FACTS, null);
    expect(cardWithQuality(cardWithQuality(card, worse), QUALITY)).toBe(cardWithQuality(card, QUALITY));
    expect(reportWithQuality(reportWithQuality("{}", worse), QUALITY)).toBe(reportWithQuality("{}", QUALITY));
  });

  it("has no column of an original that was not measured", () => {
    const alone = { ...QUALITY, original: null, kl: null, greedyAgreement: null, layers: [] };
    expect(cardWithQuality(modelCard(FACTS, null), alone)).toContain("| perplexity | 7.4000 |\n");
  });

  it("cannot break out of its line by the name of a text", () => {
    const named = { ...QUALITY, text: "a`\n# b$&" };
    expect(cardWithQuality(modelCard(FACTS, null), named)).not.toContain("\n# b");
  });
});
