import type { StoredJob } from "../../../api/compressor-api.ts";
import { GPTQ } from "../../../formats/modifiers/gptq.ts";
import { REWRITERS } from "../../../formats/modifiers/rewriters.ts";
import type { QualityReport } from "../../../api/evaluator-api.ts";
import type { MeasuredRecipe } from "./measurement-store.ts";

/** A loss of perplexity that is not seen in practice: 1 %. */
const SMALL_LOSS = 0.01;

/** "W4A16 by GPTQ, 4.16 bits": what tells one recipe from another in few words. */
export function nameRecipe({ scheme, options: { recipe } }: StoredJob, { model }: QualityReport): string {
  const isGptq =
    recipe.kind === "controls" ? recipe.method.name === "GPTQModifier" : recipe.text.includes("GPTQModifier");
  const rewriters = REWRITERS.filter(({ name }) =>
    recipe.kind === "controls" ? recipe.rewriter === name : recipe.text.includes(name),
  );
  const ways = [...rewriters.map(({ title }) => title), ...(isGptq ? [GPTQ.title] : [])];
  return `${scheme}${ways.length > 0 ? ` by ${ways.join(" and ")}` : ""}, ${model.bitsPerWeight.toFixed(2)} bits`;
}

/** What was measured of `shown`'s model on the same windows of the same text, `shown` included; the oldest first. */
export function comparableWith(
  shown: MeasuredRecipe,
  measurements: readonly MeasuredRecipe[],
): MeasuredRecipe[] {
  const { text, tokens, windowing } = shown.report;
  return measurements.filter(
    ({ model, report }) =>
      model === shown.model &&
      report.text === text &&
      report.tokens === tokens &&
      report.windowing === windowing,
  );
}

/** How much larger the perplexity became, as a fraction; null where the original was not measured. */
export function perplexityLoss({ report }: MeasuredRecipe): number | null {
  return report.original ? report.model.perplexity / report.original.perplexity - 1 : null;
}

/** Which of the measured recipes to take, in words; null while there is no choice. */
export function recommend(measured: readonly MeasuredRecipe[]): string | null {
  if (measured.length < 2) return null;
  const bySize = measured.toSorted((a, b) => a.report.model.weightBytes - b.report.model.weightBytes);
  const good = bySize.find((each) => (perplexityLoss(each) ?? Number.POSITIVE_INFINITY) <= SMALL_LOSS);
  if (good)
    return `Take ${good.recipe}: it is the smallest that loses at most 1 % of perplexity on this text.`;
  const [best] = measured.toSorted((a, b) => a.report.model.perplexity - b.report.model.perplexity);
  return best
    ? `Each of them loses more than 1 % of perplexity on this text; ${best.recipe} loses the least.`
    : null;
}
