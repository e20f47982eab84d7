import { matrixShapeName } from "../../gpu/matmul/matrix-shape.ts";
import { quantizerOf } from "../../formats/modifiers/quantizers.ts";
import { rewriterOf } from "../../formats/modifiers/rewriters.ts";
import { usesImportance } from "../../formats/schemes/quantization-args.ts";
import { useApp } from "../parts/app-context.ts";
import {
  EXPERT_TOKENS_RANGE,
  LENGTH_RANGE,
  SAMPLES_RANGE,
  SEED_RANGE,
} from "../state/fields/calibration-fields.ts";
import { CalibrationSourceChoice } from "./calibration-source.tsx";
import { CheckField } from "../parts/check-field.tsx";
import { ChoiceField } from "../parts/choice-field.tsx";
import { NumberField } from "../parts/number-field.tsx";
import { readScheme } from "../state/recipe/read-scheme.ts";
import {
  calibrationUse,
  chosenRewriter,
  methodOf,
  type RecipeFields,
} from "../state/recipe/recipe-fields.ts";

/** Which text calibrates and how much of it; shown where the recipe needs one. */
export function CalibrationPanel() {
  const { state } = useApp();
  if (state.calibrationUse.value === "no") return null;
  const kept = state.calibration.source.value === "stored";
  return (
    <fieldset class="calibration">
      <legend>Calibration</legend>
      <p class="calibration-why">{reason(state.recipe)}</p>
      <CalibrationSourceChoice />
      <div class="option-grid">
        <fieldset class="bare" disabled={kept} aria-label="Samples">
          <Selection />
        </fieldset>
        <HiddenStates />
        <ForwardProducts />
        <Propagation />
        <Experts />
      </div>
    </fieldset>
  );
}

function reason(recipe: RecipeFields): string {
  if (calibrationUse(recipe) === "if-needed")
    return "Read only if the recipe needs it: for GPTQ, AWQ or SmoothQuant, for ranges by imatrix_mse or hessian_mse, for activations with static scales, or for a key-value cache scheme.";
  const scheme = recipe.scheme.value;
  const reasons = [];
  const rewriter = chosenRewriter(recipe);
  if (rewriter !== null) reasons.push(rewriterOf(rewriter).looksAt);
  if (quantizerOf(methodOf(recipe)).calibrates)
    reasons.push(
      "GPTQ looks at the inputs that this text gives each layer. A few hundred samples of the kind that the model will meet are enough.",
    );
  if (usesImportance({ observer: recipe.observer.value }))
    reasons.push("The observer weighs each column of a weight by what this text puts into it.");
  if (readScheme(scheme)?.calibrated)
    reasons.push(`${scheme} stores a scale for each module’s activations, which is measured on this text.`);
  return reasons.join(" ");
}

function Selection() {
  const { state } = useApp();
  const { samples, maxSeqLength } = state.calibration;
  return (
    <>
      <NumberField
        id="calibration-samples"
        label="Samples"
        option="num_calibration_samples"
        value={samples}
        range={SAMPLES_RANGE}
      >
        More samples take longer and make the result steadier.
      </NumberField>
      <NumberField
        id="calibration-length"
        label="Longest sample"
        option="max_seq_length"
        value={maxSeqLength}
        range={LENGTH_RANGE}
      >
        Tokens. Longer samples are cut; shorter ones are never padded.
      </NumberField>
      <Shuffle />
    </>
  );
}

function Shuffle() {
  const { state } = useApp();
  const { shuffle, seed } = state.calibration;
  return (
    <>
      <CheckField
        id="shuffle"
        label="Shuffle the samples"
        option="shuffle_calibration_samples"
        value={shuffle}
      >
        Before the samples are taken. Otherwise the first ones are taken, in order.
      </CheckField>
      <NumberField
        id="calibration-seed"
        label="Seed"
        option="seed"
        value={seed}
        range={SEED_RANGE}
        disabled={!shuffle.value}
      >
        The same seed means the same order, in every browser.
      </NumberField>
    </>
  );
}

function HiddenStates() {
  const { state } = useApp();
  const { hiddenStatesDtype } = state.calibration;
  return (
    <ChoiceField
      id="hidden-states-dtype"
      label="Hidden states"
      option="hidden_states_dtype"
      value={hiddenStatesDtype.value}
      onChoose={(dtype) => (hiddenStatesDtype.value = dtype)}
      choices={{ F32: "F32: as they are calculated", BF16: "BF16: half of the space" }}
    >
      What is kept of the samples between two layers. BF16 rounds each layer’s input to 8 significant bits, so
      that a few codes come out differently.
    </ChoiceField>
  );
}

/** Only where there is a choice: on a GPU. */
function ForwardProducts() {
  const { state } = useApp();
  const { forwardProducts } = state.calibration;
  const adapter = state.adapter.value;
  if (!adapter || adapter.software) return null;
  const { matrices } = adapter;
  return (
    <ChoiceField
      id="forward-products"
      label="Forward products"
      option="forward_products"
      value={forwardProducts.value}
      onChoose={(products) => (forwardProducts.value = products)}
      choices={{
        AUTO: "AUTO: whatever is faster",
        F32: "F32: plain float32",
        F32_STRASSEN: "F32_STRASSEN: fewer products",
      }}
    >
      {matrices &&
        `This GPU multiplies ${matrixShapeName(matrices)} matrices of float16. Two halves for each float32 keep 22 of its 24 significant bits; GPTQ stays in float32. `}
      Strassen’s algorithm makes seven products of eight where they are large, and rounds about twice as much.
    </ChoiceField>
  );
}

function Propagation() {
  const { state } = useApp();
  const { propagateError } = state.calibration;
  return (
    <CheckField id="propagate" label="Pass errors on" option="propagate_error" value={propagateError}>
      Each layer is fitted to the real output of the compressed layers before it, and makes up for some of
      their error.
    </CheckField>
  );
}

function Experts() {
  const { state } = useApp();
  const { allExperts, minExpertTokens } = state.calibration;
  return (
    <>
      <CheckField
        id="experts"
        label="All tokens to all experts"
        option="moe_calibrate_all_experts"
        value={allExperts}
      >
        For mixtures of experts: else each expert is calibrated on the tokens that are routed to it.
      </CheckField>
      {!allExperts.value && (
        <NumberField
          id="expert-tokens"
          label="Tokens of an expert"
          option="moe_min_tokens_per_expert"
          value={minExpertTokens}
          range={EXPERT_TOKENS_RANGE}
        >
          Experts that fewer tokens reach are rounded to nearest.
        </NumberField>
      )}
    </>
  );
}
