import { useSignal, useSignalEffect } from "@preact/signals";
import { formatBytes } from "../../formats/text/format-bytes.ts";
import { useApp } from "../parts/app-context.ts";
import { CheckField } from "../parts/check-field.tsx";
import { BUDGET_STEPS, MIN_BUDGET_BYTES, stepIndex } from "../state/fields/gpu-budget.ts";
import { GptqFields, Observer } from "./gptq-fields.tsx";
import { OptionLabel } from "../parts/number-field.tsx";
import { GROUP_SIZES } from "../state/recipe/preset-cards.ts";
import { readScheme, UNQUANTIZED } from "../state/recipe/read-scheme.ts";
import { RecipeYaml } from "./recipe-yaml.tsx";

export function AdvancedRecipe() {
  const { state } = useApp();
  const open = useSignal(false);
  // A recipe that was restored from an earlier job must not decide from behind a closed fold.
  useSignalEffect(() => {
    if (state.recipe.yaml.value !== null) open.value = true;
  });
  return (
    <details class="advanced" open={open.value} onToggle={(event) => (open.value = event.currentTarget.open)}>
      <summary>Advanced</summary>
      <div class="advanced-fields">
        {state.recipe.scheme.value !== UNQUANTIZED && (
          <fieldset
            class="bare"
            disabled={state.recipe.yaml.value !== null}
            aria-label="Details of the preset"
          >
            <GroupSize />
            <Ignore />
            <Observer />
            <GptqFields />
          </fieldset>
        )}
        <GpuBudget />
        <KeepSource />
        <RecipeYaml />
      </div>
    </details>
  );
}

function GroupSize() {
  const { state } = useApp();
  const { scheme, groupSize } = state.recipe;
  const facts = readScheme(scheme.value);
  const own = facts?.groupSize ?? null;
  const fixed = own === null || (facts?.fixedGroups ?? false);
  return (
    <div class="field">
      <OptionLabel htmlFor="group-size" label="Group size" option="group_size" />
      <div class="field-body">
        <select
          id="group-size"
          disabled={fixed}
          value={String(fixed ? "" : (groupSize.value ?? own))}
          onChange={(event) => (groupSize.value = Number(event.currentTarget.value))}
          aria-describedby="group-size-hint"
        >
          {fixed && <option value="">{own === null ? "no groups" : `${own}, as the format says`}</option>}
          {sizesWith(groupSize.value).map((size) => (
            <option key={size} value={String(size)}>
              {size}
              {size === own ? " (the preset’s own)" : ""}
            </option>
          ))}
        </select>
        <p id="group-size-hint" class="hint">
          Weights that share one scale. Smaller groups follow the weights more closely and take more space.
        </p>
      </div>
    </div>
  );
}

function sizesWith(chosen: number | null): readonly number[] {
  if (chosen === null || GROUP_SIZES.includes(chosen)) return GROUP_SIZES;
  return [...GROUP_SIZES, chosen].toSorted((a, b) => a - b);
}

function Ignore() {
  const { state } = useApp();
  return (
    <div class="field">
      <label htmlFor="ignore">Ignore</label>
      <div class="field-body">
        <input
          id="ignore"
          class="code"
          type="text"
          value={state.recipe.ignore.value}
          onInput={(event) => (state.recipe.ignore.value = event.currentTarget.value)}
          autocomplete="off"
          spellcheck={false}
          aria-describedby="ignore-hint"
        />
        <p id="ignore-hint" class="hint">
          Modules that stay as they are: names, or patterns such as <code>re:.*gate$</code>, separated by
          commas.
        </p>
      </div>
    </div>
  );
}

function GpuBudget() {
  const { state } = useApp();
  const bytes = state.budgetBytes.value;
  const setStep = (index: number) => {
    const step = BUDGET_STEPS[index];
    if (step !== undefined) state.budget.value = formatBytes(step);
  };
  return (
    <div class="field">
      <label htmlFor="gpu-budget">GPU budget</label>
      <div class="slider-row">
        <input
          type="range"
          min={0}
          max={BUDGET_STEPS.length - 1}
          value={stepIndex(bytes ?? 0)}
          onInput={(event) => setStep(Number(event.currentTarget.value))}
          aria-label="GPU budget in steps"
          aria-valuetext={state.budget.value}
        />
        <input
          id="gpu-budget"
          type="text"
          value={state.budget.value}
          onInput={(event) => (state.budget.value = event.currentTarget.value)}
          autocomplete="off"
          aria-invalid={bytes === null}
          aria-describedby="gpu-budget-hint gpu-budget-problem"
        />
      </div>
      <p id="gpu-budget-problem" role="alert" class="problem">
        {bytes === null && `Write an amount of at least ${formatBytes(MIN_BUDGET_BYTES)}, such as 2 GiB.`}
      </p>
      <p id="gpu-budget-hint" class="hint">
        GPU memory that the job may take. Browsers do not tell how much there is; a layer that does not fit is
        done piece by piece.
      </p>
    </div>
  );
}

function KeepSource() {
  const { state } = useApp();
  return (
    <CheckField id="keep" label="Keep the downloaded model" value={state.keepSource}>
      Needs room for the whole model, and spares the download when you try another recipe. Otherwise each
      layer’s download is deleted once the layer is finished.
    </CheckField>
  );
}
