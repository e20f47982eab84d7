import { useApp } from "./app-context.ts";
import { NumberField, OptionLabel } from "./number-field.tsx";
import { DAMPENING_RANGE, methodOf } from "./recipe-fields.ts";

type Actorder = "static" | "group" | "none";

/** What GPTQ can be told beyond its preset. */
export function GptqFields() {
  const { state } = useApp();
  const { dampening, actorder } = state.recipe;
  if (methodOf(state.recipe) !== "gptq") return null;
  return (
    <>
      <NumberField
        id="dampening"
        label="Damping"
        option="dampening_frac"
        value={dampening}
        range={DAMPENING_RANGE}
      >
        What is added to the Hessian’s diagonal, as a share of its mean. More trusts the text less.
      </NumberField>
      <div class="field">
        <OptionLabel htmlFor="actorder" label="Order of columns" option="actorder" />
        <select
          id="actorder"
          value={actorder.value ?? "none"}
          onChange={(event) => {
            const chosen = event.currentTarget.value as Actorder;
            actorder.value = chosen === "none" ? null : chosen;
          }}
          aria-describedby="actorder-hint"
        >
          <option value="static">static: the largest activations first</option>
          <option value="group">group: first, and grouped in that order</option>
          <option value="none">none: from left to right</option>
        </select>
        <p id="actorder-hint" class="hint">
          “static” is the usual choice. “group” can be closer, but stores weight_g_idx and runs slower.
        </p>
      </div>
    </>
  );
}

/** How the range of a group's weights is found, whichever method then chooses the codes. */
export function Observer() {
  const { state } = useApp();
  const { observer } = state.recipe;
  return (
    <div class="field">
      <OptionLabel htmlFor="observer" label="Range of weights" option="observer" />
      <select
        id="observer"
        value={observer.value}
        onChange={(event) =>
          (observer.value =
            event.currentTarget.value === "memoryless_mse" ? "memoryless_mse" : "memoryless_minmax")
        }
        aria-describedby="observer-hint"
      >
        <option value="memoryless_minmax">memoryless_minmax: from smallest to largest</option>
        <option value="memoryless_mse">memoryless_mse: the one with the least squared error</option>
      </select>
      <p id="observer-hint" class="hint">
        Cutting off a few large weights can serve all others better; searching for the cut takes longer.
      </p>
    </div>
  );
}
