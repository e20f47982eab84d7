// The files of a result that tell of it: index, recipe, report and model card.

import { type OutputPlan, shardIndex } from "../formats/safetensors/shards.ts";
import { modelCard } from "./model-card.ts";
import type { ResultFacts } from "./part-document.ts";
import { lossTotals, quantizationReport } from "./quantization-report.ts";

/** Path and content of each. */
export function describeResult(facts: ResultFacts, output: OutputPlan): [path: string, content: string][] {
  const index: [string, string][] =
    output.shards.length > 1 ? [["model.safetensors.index.json", shardIndex(output)]] : [];
  return [
    ...index,
    ["recipe.yaml", facts.recipe],
    ["quantization-report.json", report(facts)],
    ["README.md", card(facts, output)],
  ];
}

function report({ source, recipe, calibration, result, measured }: ResultFacts): string {
  const { label, repository, revision } = source;
  return quantizationReport({
    source: { label, repository, revision },
    recipeYaml: recipe,
    calibration,
    ...result,
    ...measured,
  });
}

function card({ source, recipe, calibration, result, measured }: ResultFacts, output: OutputPlan): string {
  const { modules } = measured;
  const facts = {
    ...result,
    sourceName: source.name,
    repository: source.repository,
    revision: source.revision,
    recipeYaml: recipe,
    // The report's length changes with the digits of its times; the card of a resumed job must not.
    resultBytes: output.shards.reduce((sum, { fileBytes }) => sum + fileBytes, 0),
    calibration,
    totals: modules.length > 0 ? lossTotals(modules) : null,
  };
  return modelCard(facts, result.card);
}
