import { type Quantizer, QUANTIZERS } from "../../formats/modifiers/quantizers.ts";
import { useApp } from "../parts/app-context.ts";
import { refusalOf } from "../state/read-recipe-choice.ts";
import { methodOf } from "../state/recipe-fields.ts";
import { UNQUANTIZED } from "../state/read-scheme.ts";

/** How codes are chosen. A method that cannot choose codes of the preset says why. */
export function MethodChoice() {
  const { state } = useApp();
  const { scheme, yaml } = state.recipe;
  if (yaml.value !== null || scheme.value === UNQUANTIZED) return null;
  return (
    <fieldset>
      <legend>Method</legend>
      <div class="cards methods">
        {QUANTIZERS.map((quantizer) => (
          <MethodCard key={quantizer.name} quantizer={quantizer} />
        ))}
      </div>
    </fieldset>
  );
}

function MethodCard({ quantizer }: { readonly quantizer: Quantizer }) {
  const { state } = useApp();
  const { name, title, sentence } = quantizer;
  const problem = refusalOf(quantizer, state.recipe.scheme.value);
  return (
    <label class={problem === null ? "card" : "card disabled"}>
      <input
        type="radio"
        name="method"
        value={name}
        checked={methodOf(state.recipe) === name}
        disabled={problem !== null}
        onChange={() => (state.recipe.method.value = name)}
      />
      <span class="card-name">{title}</span>
      <span class="card-sentence">
        {problem === null ? sentence : `Not for ${state.recipe.scheme.value}: ${problem}.`}
      </span>
    </label>
  );
}
