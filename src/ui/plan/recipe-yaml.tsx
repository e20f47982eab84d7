import { useApp } from "../parts/app-context.ts";
import { CopyButton } from "../parts/copy-button.tsx";

/** The recipe that the controls mean, to copy; or one to write or paste, which then decides instead of them. */
export function RecipeYaml() {
  const { state } = useApp();
  const { yaml } = state.recipe;
  const shown = yaml.value ?? state.fit.value?.recipeYaml ?? "";
  const edited = yaml.value !== null;
  const switchSides = () => (yaml.value = edited ? null : shown);
  return (
    <div class="field">
      <div class="field-head">
        <label htmlFor="recipe-yaml">Recipe in YAML</label>
        <span class="buttons">
          <CopyButton text={shown} what="recipe" />
          <button type="button" onClick={switchSides}>
            {edited ? "Return to the presets" : "Edit or paste"}
          </button>
        </span>
      </div>
      <textarea
        id="recipe-yaml"
        class="code"
        rows={Math.min(20, Math.max(8, shown.split("\n").length))}
        value={shown}
        readOnly={!edited}
        onInput={(event) => (yaml.value = event.currentTarget.value)}
        spellcheck={false}
        aria-describedby="recipe-yaml-hint"
      />
      <p id="recipe-yaml-hint" class="hint">
        LLM Compressor’s own vocabulary; the file goes into the result as recipe.yaml.
      </p>
    </div>
  );
}
