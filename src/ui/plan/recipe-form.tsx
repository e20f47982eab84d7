import { formatBytes } from "../../formats/text/format-bytes.ts";
import { AlsoMake } from "./also-make.tsx";
import { AdvancedRecipe } from "./advanced-recipe.tsx";
import { useApp } from "../parts/app-context.ts";
import { CalibrationPanel } from "./calibration-panel.tsx";
import { formatPercent } from "../words/format-count.ts";
import { MethodChoice } from "./method-choice.tsx";
import { MorePresets } from "./more-presets.tsx";
import { SizeWish } from "./size-wish.tsx";
import { DEQUANTIZE_CARD, PRESET_CARDS, type PresetCard } from "../state/recipe/preset-cards.ts";
import { UNQUANTIZED } from "../state/recipe/read-scheme.ts";

/** The recommended presets as cards, with the size that each gives for this model; all others are folded away below. */
export function RecipeForm() {
  const { state } = useApp();
  const byYaml = state.recipe.yaml.value !== null;
  const isQuantized = (state.model.value?.quantization?.modules.length ?? 0) > 0;
  const cards = isQuantized ? [DEQUANTIZE_CARD, ...PRESET_CARDS] : PRESET_CARDS;
  return (
    <form class="recipe" onSubmit={(event) => event.preventDefault()} aria-label="Recipe">
      <fieldset disabled={byYaml}>
        <legend>Recipe</legend>
        {byYaml && <p class="hint">The YAML below decides. Return to the presets to choose one here.</p>}
        <div class="cards">
          {cards.map((card) => (
            <Card
              key={card.scheme}
              card={card}
              chosen={!byYaml && state.recipe.scheme.value === card.scheme}
            />
          ))}
        </div>
        <MorePresets />
      </fieldset>
      <MethodChoice />
      <AlsoMake />
      <CalibrationPanel />
      <SizeWish />
      <AdvancedRecipe />
    </form>
  );
}

function Card({ card, chosen }: { card: PresetCard; chosen: boolean }) {
  const { state } = useApp();
  return (
    <label class="card">
      <input
        type="radio"
        name="preset"
        value={card.scheme}
        checked={chosen}
        onChange={() => (state.recipe.scheme.value = card.scheme)}
      />
      <span class="card-name">
        {card.name} <code>{card.scheme}</code>
      </span>
      <CardSize scheme={card.scheme} />
      <span class="card-sentence">{card.sentence}</span>
      <span class="card-detail">{card.detail}</span>
    </label>
  );
}

/** What the model would weigh with this preset, against what it weighs now. */
function CardSize({ scheme }: { scheme: string }) {
  const { state } = useApp();
  const dequantized = scheme === UNQUANTIZED ? state.model.value?.quantization : null;
  const size = dequantized
    ? { resultBytes: dequantized.dequantizedBytes, problem: null }
    : state.presets.value.find((preset) => preset.scheme === scheme);
  const sourceBytes = state.model.value?.weightBytes ?? 0;
  if (!size) return <span class="card-size quiet">{state.planFailure.value ? "" : "…"}</span>;
  if (size.resultBytes === null)
    return <span class="card-size warn-text">{size.problem ?? "Not for this model"}</span>;
  const share = sourceBytes > 0 ? size.resultBytes / sourceBytes : 1;
  return (
    <span class="card-size">
      {formatBytes(size.resultBytes)} <span class="quiet">{formatPercent(share)}</span>
      <span class="share" aria-hidden="true">
        <span style={{ inlineSize: `${Math.min(100, share * 100)}%` }} />
      </span>
    </span>
  );
}
