import type { WeightObserver } from "../../formats/schemes/quantization-args.ts";
import { useApp } from "../parts/app-context.ts";
import { ChoiceField } from "../parts/choice-field.tsx";
import { NumberField } from "../parts/number-field.tsx";
import { DAMPENING_RANGE, methodOf, orderOf, ordersGroups } from "../state/recipe/recipe-fields.ts";

/** What is said of each choice while it is the one. */
const ORDER_SENTENCES = {
  static: "Columns with the largest inputs first.",
  group:
    "Columns with the largest inputs first, which also share a scale: that can be closer. It stores weight_g_idx and runs slower, and compressed-tensors from 0.19 on refuses it, so transformers does, too.",
  none: "From left to right.",
};

const UNGROUPED_ORDERS = { static: "static", none: "none" } as const;
const ORDERS = { static: "static", group: "group", none: "none" } as const;

/** What GPTQ can be told beyond its preset. */
export function GptqFields() {
  const { state } = useApp();
  const { dampening, actorder } = state.recipe;
  if (methodOf(state.recipe) !== "GPTQModifier") return null;
  const order = orderOf(state.recipe) ?? "none";
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
        value={order}
        onChoose={(chosen) => (actorder.value = chosen === "none" ? null : chosen)}
        choices={ordersGroups(state.recipe) ? ORDERS : UNGROUPED_ORDERS}
      >
        {ORDER_SENTENCES[order]}
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

const OBSERVER_SENTENCES: Readonly<Record<WeightObserver, string>> = {
  memoryless_minmax: "From the smallest weight to the largest.",
  memoryless_mse: "Cuts off a few large weights where that serves the others better. Takes longer.",
  imatrix_mse:
    "Cuts off a few large weights where that serves the others better, weighted by what a text puts into each column.",
  hessian_mse:
    "Tries 20 shares of the range, and takes the one that costs the layer least on a text. Only here, not in LLM Compressor.",
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
      {OBSERVER_SENTENCES[observer.value]}
    </ChoiceField>
  );
}
