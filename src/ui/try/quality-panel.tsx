import { useEffect, useMemo } from "preact/hooks";
import { formatBytes } from "../../formats/text/format-bytes.ts";
import type { ModelQuality, QualityReport } from "../../api/evaluator-api.ts";
import { useApp } from "../parts/app-context.ts";
import { comparableWith, perplexityLoss, recommend } from "../state/measurements/compare-recipes.ts";
import { BITS_NAME } from "../words/bits-text.ts";
import { capitalize } from "../words/capitalize.ts";
import { formatPercent } from "../words/format-count.ts";
import { formatDuration } from "../words/format-duration.ts";
import { formatError } from "../words/format-error.ts";
import { measureResult } from "../actions/measure-result.ts";
import type { MeasuredRecipe } from "../state/measurements/measurement-store.ts";

/** How much was lost, on a text of the user's or the model's own. */
export function QualityPanel() {
  const app = useApp();
  const { trial } = app.state;
  const progress = trial.progress.value;
  const own = trial.measured.value;
  const kept = app.state.stored.value?.measurements ?? [];
  const measured = own ? comparableWith(own, kept) : [];
  return (
    <div class="quality">
      <h3>How much was lost</h3>
      <p class="hint">
        Perplexity says how much a text surprises a model: the original’s beside the result’s shows what was
        lost. Both run one layer at a time, so neither has to fit into memory. On a GPU the forward pass of
        the calibration computes them, and onnxruntime-web checks it.
      </p>
      <div class="field">
        <label htmlFor="quality-text">Text to measure on; without one, the model’s or the page’s own</label>
        <input
          id="quality-text"
          type="file"
          accept=".txt,.jsonl,.json"
          onChange={(event) => (trial.text.value = event.currentTarget.files?.[0] ?? null)}
        />
      </div>
      <div class="buttons">
        <button type="button" disabled={trial.busy.value !== null} onClick={() => void measureResult(app)}>
          Measure the loss
        </button>
      </div>
      {progress && <progress aria-label="Measured" value={progress.done} max={1} />}
      <output class="unseen">{own && measuredSentence(own.report)}</output>
      {own && <Report report={own.report} />}
      {measured.length > 1 && <Comparison measured={measured} />}
    </div>
  );
}

function Report({ report }: { report: QualityReport }) {
  const { original, kl, greedyAgreement } = report;
  const address = useMemo(() => reportAddress(report), [report]);
  useEffect(() => () => URL.revokeObjectURL(address), [address]);
  return (
    <>
      <table class="figures">
        <thead>
          <tr>
            <th scope="col">Measured</th>
            <th scope="col">Result</th>
            {original && <th scope="col">Original</th>}
          </tr>
        </thead>
        <tbody>
          <Figure name="Perplexity" report={report} of={({ perplexity }) => perplexity.toFixed(4)} />
          <Figure
            name={capitalize(BITS_NAME)}
            report={report}
            of={({ bitsPerWeight }) => bitsPerWeight.toFixed(2)}
          />
          <Figure name="Weights" report={report} of={({ weightBytes }) => formatBytes(weightBytes)} />
        </tbody>
      </table>
      {kl && greedyAgreement !== null && (
        <p>
          KL divergence {formatError(kl.mean)} in the mean and {formatError(kl.worst)} at worst; both prefer
          the same next token for {formatPercent(greedyAgreement)} of the tokens.
        </p>
      )}
      <LayerErrors report={report} />
      <p class="hint">
        {report.tokens} tokens of {report.text} in {report.windows}{" "}
        {report.windows === 1 ? "window" : "windows"}. {report.windowing} {report.notes.join(" ")}
      </p>
      <p class="hint">
        {costs(report)} {checked(report)}
      </p>
      <p>
        {report.recorded &&
          "These figures are in the result’s quantization-report.json and README.md now: save it again to have them. "}
        <a download="quality-report.json" href={address}>
          Save them alone
        </a>
      </p>
    </>
  );
}

/** Said to screen readers once it is known; the table below says it to the eye. */
function measuredSentence({ model, original }: QualityReport): string {
  const own = `Perplexity ${model.perplexity.toFixed(4)}`;
  return original ? `${own}, of the original ${original.perplexity.toFixed(4)}.` : `${own}.`;
}

/** What computed the figures, and what it took. */
function costs({ seconds, forwardPass, provider, peakGpuBytes }: QualityReport): string {
  const by = forwardPass === "layerpress" ? "the forward pass that calibrates" : "onnxruntime-web";
  const time = `Measured by ${by} in ${formatDuration(seconds)}`;
  if (provider === "wasm") return `${time} on the processor (WebAssembly).`;
  return `${time} with ${formatBytes(peakGpuBytes)} of GPU memory at most.`;
}

/** How an engine that shares no code with it sees the first tokens. */
function checked({ check }: QualityReport): string {
  if (!check) return "";
  const { tokens, layers, layer, statesDifference, logitsDifference } = check;
  return `As a check, onnxruntime-web computes ${layers.length === 1 ? layer : `${layers.length} of the layers`} on ${tokens} tokens, and some logits: what layers add differs by ${formatError(statesDifference)} at most, in ${layer}; logits by ${formatError(logitsDifference)}.`;
}

function reportAddress(report: QualityReport): string {
  return URL.createObjectURL(
    new Blob([JSON.stringify(report, null, 2)], { type: "application/octet-stream" }),
  );
}

interface FigureProps {
  readonly name: string;
  readonly report: QualityReport;
  readonly of: (model: ModelQuality) => string;
}

function Figure({ name, report, of }: FigureProps) {
  return (
    <tr>
      <th scope="row">{name}</th>
      <td>{of(report.model)}</td>
      {report.original && <td>{of(report.original)}</td>}
    </tr>
  );
}

/** A bar a layer: how far its hidden states are from the original's. The table below says the same. */
function LayerErrors({ report: { layers } }: { report: QualityReport }) {
  if (layers.length === 0) return null;
  const largest = Math.max(...layers.map(({ relativeError }) => relativeError), Number.MIN_VALUE);
  return (
    <figure class="layer-errors">
      <figcaption>Relative error of the hidden states after each layer</figcaption>
      <table class="figures">
        <tbody>
          {layers.map(({ layer, relativeError }) => (
            <tr key={layer}>
              <th scope="row">
                <code>{layer}</code>
              </th>
              <td>
                <span class="layer-error">
                  <span class="bar-track" aria-hidden="true">
                    <span style={{ inlineSize: `${(relativeError / largest) * 100}%` }} />
                  </span>
                  {formatError(relativeError * 100)} %
                </span>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </figure>
  );
}

function Comparison({ measured }: { measured: readonly MeasuredRecipe[] }) {
  const advice = recommend(measured);
  return (
    <>
      <h3 id="measured-heading">Recipes that were measured</h3>
      {/* What scrolls has to be reachable by keyboard, and to have a name. */}
      {/* oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex */}
      <section class="scrolled" aria-label="Recipes in figures" tabIndex={0}>
        <table class="figures" aria-labelledby="measured-heading">
          <thead>
            <tr>
              <th scope="col">Recipe</th>
              <th scope="col">Weights</th>
              <th scope="col">Perplexity</th>
              <th scope="col">Loss</th>
              <th scope="col">KL</th>
              <th scope="col">Time</th>
            </tr>
          </thead>
          <tbody>
            {measured.map((each) => (
              <tr key={each.jobId}>
                <th scope="row">{each.recipe}</th>
                <td>{formatBytes(each.report.model.weightBytes)}</td>
                <td>{each.report.model.perplexity.toFixed(4)}</td>
                <td>{formatLoss(each)}</td>
                <td>{each.report.kl ? formatError(each.report.kl.mean) : "–"}</td>
                <td>{each.seconds === null ? "–" : formatDuration(each.seconds)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </section>
      {advice && <p>{advice}</p>}
    </>
  );
}

function formatLoss(measured: MeasuredRecipe): string {
  const loss = perplexityLoss(measured);
  if (loss === null) return "–";
  const percent = (loss * 100).toFixed(2);
  return `${percent === "-0.00" ? "0.00" : percent.replace("-", "−")} %`;
}
