import type { WeightObserver } from "../../formats/schemes/quantization-args.ts";
import { useApp } from "../parts/app-context.ts";
import { ChoiceField } from "../parts/choice-field.tsx";
import { NumberField } from "../parts/number-field.tsx";
import { DAMPENING_RANGE, methodOf } from "../state/recipe/recipe-fields.ts";

/** What GPTQ can be told beyond its preset. */
export function GptqFields() {
  const { state } = useApp();
  const { dampening, actorder } = state.recipe;
  if (methodOf(state.recipe) !== "GPTQModifier") return null;
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
      <ChoiceField
        id="actorder"
        label="Order of columns"
        option="actorder"
        value={actorder.value ?? "none"}
        onChoose={(chosen) => (actorder.value = chosen === "none" ? null : chosen)}
        choices={{ static: "static", group: "group", none: "none" }}
      >
        static: those with the largest inputs first. group: these also share a scale, which can be closer,
        stores weight_g_idx and runs slower; compressed-tensors from 0.19 on, and transformers with it, refuse
        it. none: from left to right.
      </ChoiceField>
    </>
  );
}

const CHOICES: Readonly<Record<WeightObserver, string>> = {
  memoryless_minmax: "memoryless_minmax",
  memoryless_mse: "memoryless_mse",
  imatrix_mse: "imatrix_mse",
  hessian_mse: "hessian_mse",
};

/** How the range of a group's weights is found, whichever method then chooses the codes. */
export function Observer() {
  const { state } = useApp();
  const { observer } = state.recipe;
  return (
    <ChoiceField
      id="observer"
      label="Range of weights"
      option="observer"
      value={observer.value}
      onChoose={(name) => (observer.value = name)}
      choices={CHOICES}
    >
      memoryless_minmax: from the smallest to the largest. memoryless_mse: cuts off a few large ones where
      that serves all others better, and takes longer. imatrix_mse: the same with a text, by what it makes of
      each column’s input. hessian_mse: the one of 20 shares of the range that costs the layer least, by the
      same text; this program’s own.
    </ChoiceField>
  );
}
