import { useSignal } from "@preact/signals";
import type { SchemeSurvey, SurveyPoint } from "../../api/scheme-survey.ts";
import { formatBytes } from "../../formats/text/format-bytes.ts";
import { measureSchemes } from "../actions/measure-schemes.ts";
import { takeSize } from "../actions/take-size.ts";
import { useApp } from "../parts/app-context.ts";
import { mixableRecipes } from "../state/recipe/also-recipes.ts";
import { bitsText } from "../words/bits-text.ts";
import { methodOf, recipeChoice } from "../state/recipe/recipe-fields.ts";

const LEAST_LOSS = 1e-12;

/** A size to wish for: what 4, 6 and 8 bits in each set of modules change is measured, then a point of the curve is chosen. */
export function SizeWish() {
  const { state } = useApp();
  const survey = state.survey.value;
  const calibrates = state.recipe.yaml.value === null && methodOf(state.recipe) === "GPTQModifier";
  if (!survey && !calibrates) return null;
  return (
    <fieldset class="size-wish">
      <legend>Size</legend>
      {survey ? <Curve survey={survey} /> : <Measure />}
    </fieldset>
  );
}

function Measure() {
  const app = useApp();
  const { state } = app;
  const measure = () => {
    const [options, chosen] = [state.options.peek(), recipeChoice(state.recipe)];
    if (!options || !chosen) return;
    const [recipe, ...beside] = mixableRecipes(chosen);
    void measureSchemes(app, { ...options, recipe, beside });
  };
  return (
    <>
      <p class="hint" id="size-hint">
        The scheme above gives one size. To choose the size yourself, measure how much the model’s output
        changes when each set of modules has 4 bits: the sets that change it most for their size then keep
        more bits. A recent vLLM runs such mixtures.
      </p>
      <span class="buttons">
        <button
          type="button"
          onClick={measure}
          disabled={state.options.value === null || state.adapterProblem.value !== null}
          aria-describedby="size-hint"
        >
          Measure 4, 6 and 8 bits
        </button>
      </span>
    </>
  );
}

function Curve({ survey: { curve, schemes } }: { survey: SchemeSurvey }) {
  const app = useApp();
  const index = useSignal(0);
  // At the last point nothing would be quantized.
  const last = Math.max(curve.length - 2, 0);
  const point = curve[index.value];
  const mixed = app.state.mixed.value;
  return (
    <>
      <Plot curve={curve} at={index.value} />
      <label htmlFor="size-point">Size of the weights</label>
      <input
        id="size-point"
        type="range"
        min={0}
        max={last}
        value={index.value}
        onInput={(event) => (index.value = Number(event.currentTarget.value))}
        onChange={() => point && void takeSize(app, point)}
        aria-valuetext={point ? pointText(point) : ""}
        aria-describedby="size-chosen"
      />
      <output id="size-chosen" htmlFor="size-point">
        {point && <strong>{pointText(point)}</strong>}{" "}
        {mixed && (
          <span class="quiet">
            {schemes.map((scheme, place) => `${mixed.counts[place] ?? 0} ${scheme}`).join(", ")}
          </span>
        )}
      </output>
      <p class="hint">
        The expected change of the text’s last hidden states; a quantity to compare by, not a perplexity:
        measure the result, too. The point that you choose becomes a recipe in YAML, which you can edit. It is
        one width for all where a mixture of that size would save less than a tenth.
      </p>
    </>
  );
}

function pointText({ resultBytes, bitsPerWeight, loss }: SurveyPoint): string {
  return `${formatBytes(resultBytes)}, ${bitsText(bitsPerWeight)}, changes ${(100 * loss).toPrecision(2)} %`;
}

/** Size to the right, loss upwards on a logarithmic scale; it draws what the slider says. */
function Plot({ curve, at }: { curve: readonly SurveyPoint[]; at: number }) {
  const placed = placePoints(curve);
  const chosen = placed[at];
  return (
    <svg class="size-curve" viewBox="-2 -4 104 48" preserveAspectRatio="none" aria-hidden="true">
      <polyline points={placed.map(({ x, y }) => `${x},${y}`).join(" ")} vector-effect="non-scaling-stroke" />
      {chosen && (
        <line x1={chosen.x} x2={chosen.x} y1={chosen.y} y2="40" vector-effect="non-scaling-stroke" />
      )}
      {chosen && <path d={`M${chosen.x} ${chosen.y}h0`} vector-effect="non-scaling-stroke" />}
    </svg>
  );
}

function placePoints(curve: readonly SurveyPoint[]): { readonly x: number; readonly y: number }[] {
  // What sums leave of nothing is no loss.
  const shown = curve.filter(({ loss }) => loss > LEAST_LOSS);
  const sizes = shown.map(({ resultBytes }) => resultBytes);
  const losses = shown.map(({ loss }) => Math.log(loss));
  const [least, most] = [Math.min(...sizes), Math.max(...sizes)];
  const [low, high] = [Math.min(...losses), Math.max(...losses)];
  return shown.map(({ resultBytes, loss }) => ({
    x: (100 * (resultBytes - least)) / Math.max(most - least, 1),
    y: (40 * (high - Math.log(loss))) / Math.max(high - low, 1e-9),
  }));
}
