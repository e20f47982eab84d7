import type { ComponentChildren } from "preact";
import { useApp } from "../parts/app-context.ts";
import { type Method, methodOf } from "../state/recipe-fields.ts";
import { readScheme, UNQUANTIZED } from "../state/read-scheme.ts";

/** How codes are chosen. GPTQ is offered where there are integers to choose among. */
export function MethodChoice() {
  const { state } = useApp();
  const { scheme, yaml } = state.recipe;
  if (yaml.value !== null || scheme.value === UNQUANTIZED) return null;
  const integer = readScheme(scheme.value)?.integer ?? false;
  return (
    <fieldset>
      <legend>Method</legend>
      <div class="cards methods">
        <MethodCard method="rtn" name="Round to nearest" disabled={false}>
          Every weight takes the closest code. Fast, and needs no text.
        </MethodCard>
        <MethodCard method="gptq" name="GPTQ" disabled={!integer}>
          {integer
            ? "Reads text through the model, layer by layer, and chooses codes that keep what each layer gives out. Slower and more faithful, most of all at 4 bits and below."
            : `For integer weights; those of ${scheme.value} are floats.`}
        </MethodCard>
      </div>
    </fieldset>
  );
}

interface MethodCardProps {
  readonly method: Method;
  readonly name: string;
  readonly disabled: boolean;
  readonly children: ComponentChildren;
}

function MethodCard({ method, name, disabled, children }: MethodCardProps) {
  const { state } = useApp();
  return (
    <label class={disabled ? "card disabled" : "card"}>
      <input
        type="radio"
        name="method"
        value={method}
        checked={methodOf(state.recipe) === method}
        disabled={disabled}
        onChange={() => (state.recipe.method.value = method)}
      />
      <span class="card-name">{name}</span>
      <span class="card-sentence">{children}</span>
    </label>
  );
}
