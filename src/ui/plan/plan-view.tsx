import type { ModelSummary } from "../../api/compressor-api.ts";
import { formatBytes } from "../../formats/text/format-bytes.ts";
import { useApp } from "../parts/app-context.ts";
import { FitReport } from "./fit-report.tsx";
import { formatCount, formatPercent } from "../words/format-count.ts";
import { chooseAnother } from "../actions/inspect-model.ts";
import { QuantizationPanel } from "./quantization-panel.tsx";
import { RecipeForm } from "./recipe-form.tsx";
import { TryQuantized } from "../try/try-quantized.tsx";

export function PlanView() {
  const app = useApp();
  const model = app.state.model.value;
  if (!model) return null;
  return (
    <div class="plan">
      <section class="model-head">
        <div class="head-line">
          <h1 id="state-heading" tabIndex={-1}>
            {model.source.name}
          </h1>
          <button type="button" class="link" onClick={() => chooseAnother(app)}>
            Choose another model
          </button>
        </div>
        <p class="quiet">{model.source.label}</p>
        <ModelFacts model={model} />
        {model.notes.length > 0 && (
          <ul class="notes">
            {model.notes.map((note) => (
              <li key={note}>{note}</li>
            ))}
          </ul>
        )}
      </section>
      {model.quantization && <QuantizationPanel quantization={model.quantization} />}
      <div class="plan-columns">
        <RecipeForm />
        <FitReport />
      </div>
      <TryQuantized />
    </div>
  );
}

function ModelFacts({ model }: { model: ModelSummary }) {
  const facts = [
    ["Architecture", model.architecture],
    ["Parameters", formatCount(model.parameters)],
    [model.quantization ? "Stored as" : "Dtype", dtypeText(model)],
    ["Layers", model.layers > 0 ? String(model.layers) : "unknown"],
    ["Size", formatBytes(model.weightBytes)],
    ["Licence", model.license ?? "not stated"],
  ] as const;
  return (
    <dl class="facts">
      {facts.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

/** "BF16", or "BF16 98 %, F32 2 %" where dtypes are mixed. */
function dtypeText({ dtypes, parameters, quantization }: ModelSummary): string {
  if (quantization && quantization.schemes.length > 0) return quantization.schemes.join(", ");
  if (dtypes.length === 1) return dtypes[0]?.dtype ?? "";
  return dtypes.map((entry) => `${entry.dtype} ${formatPercent(entry.parameters / parameters)}`).join(", ");
}
