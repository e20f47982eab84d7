import { BEST_PREFIX, BEST_SCHEMES, BEST_SENTENCE } from "../../formats/modifiers/best.ts";
import { AWQ_BLOCKS_SENTENCE } from "../../formats/modifiers/awq.ts";
import { type Method, METHODS } from "../../formats/modifiers/methods.ts";
import { rewriterOf } from "../../formats/modifiers/rewriters.ts";
import { useApp } from "../parts/app-context.ts";
import { CheckField } from "../parts/check-field.tsx";
import { refusalOf, rewriterRefusal } from "../state/recipe/read-recipe-choice.ts";
import { bestText, chosenRewriter, methodOf } from "../state/recipe/recipe-fields.ts";
import { UNQUANTIZED } from "../state/recipe/read-scheme.ts";

/** How codes are chosen. A method that cannot choose codes of the preset says why. */
export function MethodChoice() {
  const { state } = useApp();
  const { scheme, yaml } = state.recipe;
  if (yaml.value !== null || scheme.value === UNQUANTIZED) return null;
  return (
    <fieldset>
      <legend>Method</legend>
      <div class="cards methods">
        {METHODS.map((method) => (
          <MethodCard key={method.title} method={method} />
        ))}
      </div>
      <BlocksChoice />
      <BestChoice />
    </fieldset>
  );
}

/** By what AWQ tells scales apart. */
function BlocksChoice() {
  const { recipe } = useApp().state;
  if (chosenRewriter(recipe) !== "AWQModifier") return null;
  return (
    <CheckField id="blocks" label="Run blocks for every scale" value={recipe.awqBlocks}>
      {AWQ_BLOCKS_SENTENCE}
    </CheckField>
  );
}

/** What pays at few bits, put together, for the presets that have it; spelled out in YAML, which then decides. */
function BestChoice() {
  const { state } = useApp();
  const { scheme, yaml } = state.recipe;
  if (!BEST_SCHEMES.includes(scheme.value)) return null;
  return (
    <div class="field">
      <span class="buttons">
        <button
          type="button"
          onClick={() => (yaml.value = bestText(state.recipe))}
          aria-describedby="best-hint"
        >
          Take {BEST_PREFIX}
          {scheme.value}
        </button>
      </span>
      <p id="best-hint" class="hint">
        {BEST_SENTENCE}
      </p>
    </div>
  );
}

function MethodCard({ method }: { readonly method: Method }) {
  const { state } = useApp();
  const { quantizer, rewriter, title, sentence } = method;
  const { scheme } = state.recipe;
  const problem =
    refusalOf(quantizer, scheme.value) ??
    (rewriter === null ? null : rewriterRefusal(rewriterOf(rewriter), scheme.value));
  return (
    <label class={problem === null ? "card" : "card disabled"}>
      <input
        type="radio"
        name="method"
        value={[rewriter, quantizer.name].filter((name) => name !== null).join("+")}
        checked={methodOf(state.recipe) === quantizer.name && chosenRewriter(state.recipe) === rewriter}
        disabled={problem !== null}
        onChange={() => {
          state.recipe.method.value = quantizer.name;
          state.recipe.rewriter.value = rewriter;
        }}
      />
      <span class="card-name">{title}</span>
      <span class="card-sentence">
        {problem === null ? sentence : `Not for ${scheme.value}: ${problem}.`}
      </span>
    </label>
  );
}
