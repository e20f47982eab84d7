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
          <option value="static">static</option>
          <option value="group">group</option>
          <option value="none">none</option>
        </select>
        <p id="actorder-hint" class="hint">
          static: those with the largest inputs first. group: these also share a scale, which can be closer,
          stores weight_g_idx and runs slower; compressed-tensors from 0.19 on, and transformers with it,
          refuse it. none: from left to right.
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
        <option value="memoryless_minmax">memoryless_minmax</option>
        <option value="memoryless_mse">memoryless_mse</option>
      </select>
      <p id="observer-hint" class="hint">
        memoryless_minmax: from the smallest to the largest. memoryless_mse: cuts off a few large ones where
        that serves all others better, and takes longer.
      </p>
    </div>
  );
}
