import { useSignal, useSignalEffect } from "@preact/signals";
import { requestedRecipe } from "../../formats/recipe/requested-options.ts";
import type { RecipeChoice } from "../../api/job-options.ts";
import { useApp } from "../parts/app-context.ts";
import { alsoRecipe } from "../state/recipe/also-recipes.ts";
import { recipeChoice } from "../state/recipe/recipe-fields.ts";
import { UNQUANTIZED } from "../state/recipe/read-scheme.ts";

/** More presets whose results are made in the same run, each of its own. */
export function AlsoMake() {
  const { state } = useApp();
  const open = useSignal(false);
  // What an earlier job was asked for must not run from behind a closed fold.
  useSignalEffect(() => {
    if (state.beside.value.length > 0) open.value = true;
  });
  const chosen = recipeChoice(state.recipe);
  if (chosen === null || state.recipe.scheme.value === UNQUANTIZED) return null;
  const beside = state.beside.value;
  const possible = state.presets.value.filter(({ problem }) => problem === null);
  return (
    <details class="also" open={open.value} onToggle={(event) => (open.value = event.currentTarget.open)}>
      <summary>
        Make more results in the same run{" "}
        <span class="quiet">{beside.length > 0 ? `${beside.length} more` : "none"}</span>
      </summary>
      {open.value && (
        <fieldset>
          <legend class="unseen">Presets to make as well</legend>
          <p class="hint">
            The model is downloaded once, and a text runs through it once. Each result can be saved, tried and
            deleted on its own. Later layers see the error of the first result that GPTQ makes.
          </p>
          <div class="checks">
            {possible.map(({ scheme }) => (
              <Also key={scheme} scheme={scheme} chosen={chosen} />
            ))}
          </div>
        </fieldset>
      )}
    </details>
  );
}

function Also({ scheme, chosen }: { scheme: string; chosen: RecipeChoice }) {
  const { state } = useApp();
  const beside = state.beside.value;
  const known = beside.find((each) => each.kind === "controls" && each.scheme === scheme);
  const isChosen = chosen.kind === "controls" && chosen.scheme === scheme;
  return (
    <label class="check">
      <input
        type="checkbox"
        checked={known !== undefined || isChosen}
        disabled={isChosen}
        onChange={(event) => {
          const rest = beside.filter((each) => each !== known);
          state.beside.value = event.currentTarget.checked ? [...rest, alsoRecipe(chosen, scheme)] : rest;
        }}
      />
      <code>{known ? requestedRecipe(known).text : scheme}</code>
    </label>
  );
}
