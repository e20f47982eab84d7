// What an evaluation measured, written into a finished result: a part of its quantization-report.json, and a section of its
// model card. Measuring again replaces both.

import type { ForwardCheck, ForwardPassName } from "../api/evaluator-api.ts";
import { formatBytes } from "../formats/text/format-bytes.ts";
import { code } from "./model-card.ts";

export interface MeasuredModel {
  readonly label: string;
  readonly perplexity: number;
  readonly weightBytes: number;
  readonly bitsPerWeight: number;
}

export interface MeasuredQuality {
  readonly text: string;
  /** How the text was cut, as a sentence. */
  readonly windowing: string;
  readonly windows: number;
  /** Tokens that were predicted. */
  readonly tokens: number;
  readonly model: MeasuredModel;
  readonly original: MeasuredModel | null;
  /** KL(original ‖ model), in nats. */
  readonly kl: { readonly mean: number; readonly worst: number } | null;
  readonly greedyAgreement: number | null;
  readonly layers: readonly { readonly layer: string; readonly relativeError: number }[];
  /** What computed the figures, and where. */
  readonly forwardPass: ForwardPassName;
  readonly provider: string;
  /** A sample by onnxruntime-web, as a check; null without one. */
  readonly check: Omit<ForwardCheck, "tolerance"> | null;
  readonly seconds: number;
  readonly notes: readonly string[];
}

const SECTION = /<!-- quality -->[\s\S]*?<!-- \/quality -->\n\n/;

/** The report's text with `quality` in it. @throws SyntaxError if the text is no JSON. */
export function reportWithQuality(reportText: string, quality: MeasuredQuality): string {
  const report: unknown = JSON.parse(reportText);
  const fields = typeof report === "object" && report !== null ? report : {};
  return `${JSON.stringify({ ...fields, quality: qualityFields(quality) }, null, 2)}\n`;
}

/** Names in snake case, as the rest of the report has them. */
function qualityFields(quality: MeasuredQuality) {
  return {
    text: quality.text,
    windowing: quality.windowing,
    windows: quality.windows,
    tokens: quality.tokens,
    perplexity: quality.model.perplexity,
    weight_bytes: quality.model.weightBytes,
    bits_per_weight: quality.model.bitsPerWeight,
    original: quality.original && {
      label: quality.original.label,
      perplexity: quality.original.perplexity,
      weight_bytes: quality.original.weightBytes,
      bits_per_weight: quality.original.bitsPerWeight,
    },
    kl: quality.kl,
    greedy_agreement: quality.greedyAgreement,
    layers: quality.layers.map(({ layer, relativeError }) => ({ layer, relative_error: relativeError })),
    engine: `${quality.forwardPass} (${quality.provider})`,
    check: quality.check && {
      engine: "onnxruntime-web",
      tokens: quality.check.tokens,
      layers: quality.check.layers,
      layer: quality.check.layer,
      states_difference: quality.check.statesDifference,
      logits: quality.check.logits,
      logits_difference: quality.check.logitsDifference,
      agrees: quality.check.agrees,
    },
    seconds: quality.seconds,
    notes: quality.notes,
  };
}

/** The model card with a section on what was lost, before the one that tells how to load the model. */
export function cardWithQuality(card: string, quality: MeasuredQuality): string {
  const section = `<!-- quality -->\n${qualitySection(quality)}<!-- /quality -->\n\n`;
  const bare = card.replace(SECTION, "");
  const at = bare.search(/^## Use$/m);
  if (at < 0) return `${bare.trimEnd()}\n\n${section}`;
  return `${bare.slice(0, at)}${section}${bare.slice(at)}`;
}

function checkSentence({
  tokens,
  layers,
  statesDifference,
  logitsDifference,
}: NonNullable<MeasuredQuality["check"]>): string {
  return `As a check, onnxruntime-web computes ${layers.map(code).join(", ")} on ${tokens} tokens, and some logits: what these layers add differs by ${statesDifference.toExponential(1)} of its size at most, logits by ${logitsDifference.toExponential(1)}.`;
}

function qualitySection(quality: MeasuredQuality): string {
  const { model, original, kl, greedyAgreement, layers } = quality;
  const row = (name: string, of: (model: MeasuredModel) => string) =>
    `| ${name} | ${of(model)} |${original ? ` ${of(original)} |` : ""}`;
  const worst = layers.toSorted((a, b) => b.relativeError - a.relativeError)[0];
  const sentences = [
    ...(kl && greedyAgreement !== null
      ? [
          `KL divergence from the original is ${kl.mean.toPrecision(3)} nats in the mean and ${kl.worst.toPrecision(3)} at worst; both prefer the same next token for ${(greedyAgreement * 100).toFixed(1)} % of the tokens.`,
        ]
      : []),
    ...(worst
      ? [
          `Hidden states are off by ${(worst.relativeError * 100).toPrecision(3)} % after ${code(worst.layer)}, where it is most; each layer in \`quantization-report.json\`.`,
        ]
      : []),
    `Measured by ${quality.forwardPass === "layerpress" ? "Layerpress’s forward pass" : quality.forwardPass} on ${quality.tokens} tokens of ${code(quality.text)} in ${quality.windows} ${quality.windows === 1 ? "window" : "windows"}. ${quality.windowing}`,
    ...(quality.check ? [checkSentence(quality.check)] : []),
    ...quality.notes,
  ];
  return `## Quality

| | quantized |${original ? " original |" : ""}
| --- | --- |${original ? " --- |" : ""}
${row("perplexity", ({ perplexity }) => perplexity.toFixed(4))}
${row("bits per weight in the layers", ({ bitsPerWeight }) => bitsPerWeight.toFixed(2))}
${row("weights", ({ weightBytes }) => formatBytes(weightBytes))}

${sentences.join("\n")}
`;
}
