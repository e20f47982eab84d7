import type { ComponentChildren } from "preact";
import { formatBytes } from "../../formats/text/format-bytes.ts";
import type { CalibrationSummary, FitReport as Report, Verdict } from "../../api/compressor-api.ts";
import { useApp } from "../parts/app-context.ts";
import { CopyButton } from "../parts/copy-button.tsx";
import type { AppState } from "../state/app-state.ts";
import { FailureButtons } from "../parts/failure.tsx";
import { formatPercent } from "../words/format-count.ts";
import { formatDuration } from "../words/format-duration.ts";
import { Gauge } from "../parts/gauge.tsx";
import { CheckIcon, CrossIcon, WarningIcon } from "../parts/icons.tsx";
import { jobLink } from "../state/links/linked-job.ts";
import { UNQUANTIZED } from "../state/recipe/read-scheme.ts";
import { startJob } from "../actions/start-job.ts";

/** What the job will need against what there is, in numbers and words, and the button that starts it. */
export function FitReport() {
  const { state } = useApp();
  const fit = state.fit.value;
  const failure = state.planFailure.value;
  return (
    <section class="fit panel" aria-labelledby="fit-heading" aria-busy={state.planning.value}>
      <div class="head-line">
        <h2 id="fit-heading">Fit report</h2>
        {state.planning.value && <span class="planning">{whatIsPlanned(state)}</span>}
      </div>
      <div role="alert">
        {failure && (
          <div class="plan-problem">
            <h3>{failure.heading}</h3>
            <p>{failure.message}</p>
            <p class="buttons">
              <FailureButtons failure={failure} />
            </p>
          </div>
        )}
      </div>
      {fit && !failure && <VerdictText fit={fit} />}
      {fit && !failure && <ServableButton fit={fit} />}
      {!fit && !failure && state.problem.value === null && <p class="quiet">Reading the tensor headers…</p>}
      {fit && !failure && <Figures fit={fit} />}
      <StartButton />
    </section>
  );
}

const VERDICT_ICONS: Readonly<Record<Verdict, ComponentChildren>> = {
  fits: <CheckIcon />,
  tight: <WarningIcon />,
  "does-not-fit": <CrossIcon />,
};

function VerdictText({ fit }: { fit: Report }) {
  const [verdict, ...more] = fit.sentences;
  return (
    <output class={`verdict ${fit.verdict}`}>
      {VERDICT_ICONS[fit.verdict]}
      <strong>{verdict}</strong>
      {more.map((sentence) => (
        <span key={sentence}>{sentence}</span>
      ))}
      {[
        ...new Set(fit.results.flatMap(({ serverNotes }) => serverNotes.map(({ sentence }) => sentence))),
      ].map((sentence) => (
        <span key={sentence}>{sentence}</span>
      ))}
    </output>
  );
}

/** Takes the recipe that leaves alone what a server would refuse; from then on it is one in YAML. */
function ServableButton({ fit: { servableRecipe } }: { fit: Report }) {
  const { yaml } = useApp().state.recipe;
  if (servableRecipe === null) return null;
  return (
    <p class="buttons">
      <button type="button" onClick={() => (yaml.value = servableRecipe)}>
        Ignore what vLLM refuses
      </button>
    </p>
  );
}

function Figures({ fit }: { fit: Report }) {
  const { state } = useApp();
  const sourceBytes = state.model.value?.weightBytes ?? 0;
  const needed = fit.indexedDbBytes + fit.opfsBytes + fit.layerFileBytes;
  return (
    <table class="figures">
      <tbody>
        {fit.results.length > 1 && <Several results={fit.results} />}
        <Row name={fit.results.length > 1 ? "The first" : "Result"}>
          {sourceBytes > 0 && <Quiet>{formatPercent(fit.resultBytes / sourceBytes)}</Quiet>}
          {formatBytes(fit.resultBytes)}
        </Row>
        <Row name="Bits per weight">{fit.bitsPerWeight.toFixed(2)}</Row>
        <Row name="To download">{formatBytes(fit.downloadBytes)}</Row>
        <Row name="Peak GPU memory">
          {formatBytes(fit.peakGpuBytes)} <span class="quiet">of {formatBytes(fit.gpuBudgetBytes)}</span>
          <Gauge label="Peak GPU memory of the budget" value={fit.peakGpuBytes} max={fit.gpuBudgetBytes} />
        </Row>
        {fit.calibration && <Calibration summary={fit.calibration} />}
        <Row name="Space for downloads">
          <Quiet>IndexedDB</Quiet>
          {formatBytes(fit.indexedDbBytes)}
        </Row>
        <Row name="Space for the result">
          <Quiet>OPFS</Quiet>
          {formatBytes(fit.opfsBytes)}
        </Row>
        {fit.layerFileBytes > 0 && (
          <Row name="Space for layers at work">
            <Quiet>OPFS</Quiet>
            {formatBytes(fit.layerFileBytes)}
          </Row>
        )}
        <Row name="Space free">
          {fit.freeBytes === null ? "not told by this browser" : formatBytes(fit.freeBytes)}
          {fit.freeBytes !== null && (
            <Gauge label="Space needed of what is free" value={needed} max={fit.freeBytes} />
          )}
        </Row>
        <Row name="Time">
          <Time fit={fit} />
        </Row>
        <Counts fit={fit} />
      </tbody>
    </table>
  );
}

/** Each result of a run that makes several. */
function Several({ results }: { results: Report["results"] }) {
  return (
    <>
      {results.map(({ scheme, recipeYaml, resultBytes, bitsPerWeight, leads }) => (
        <Row key={recipeYaml} name={scheme}>
          {leads && <Quiet>leads,</Quiet>}
          <Quiet>{bitsPerWeight.toFixed(2)} bits</Quiet>
          {formatBytes(resultBytes)}
        </Row>
      ))}
    </>
  );
}

/** What becomes of the tensors; those that are dequantized are copied as the plain weights that they mean. */
function Counts({ fit }: { fit: Report }) {
  const { recipe, model } = useApp().state;
  const dequantizes = recipe.yaml.value === null && recipe.scheme.value === UNQUANTIZED;
  const groups = dequantizes ? (model.value?.quantization?.modules ?? []) : [];
  const dequantized = groups.reduce((sum, { count }) => sum + count, 0);
  return (
    <>
      {dequantized > 0 ? (
        <Row name="Dequantized">{dequantized} modules</Row>
      ) : (
        <Row name="Quantized">{fit.quantizedModules} modules</Row>
      )}
      <Row name="Copied as they are">{fit.copiedTensors - dequantized} tensors</Row>
    </>
  );
}

/** A calibrated job's time is mostly the GPU's, which may be tens of times faster than assumed. */
function Time({ fit: { estimatedSeconds, calibration } }: { fit: Report }) {
  if (estimatedSeconds === null) return <>known once it runs</>;
  return (
    <>
      {estimatedSeconds < 1 ? "" : "about "}
      {formatDuration(estimatedSeconds)}
      {calibration && (
        <span class="quiet aside">
          at {formatRate(calibration.gpu.flopsPerSecond)}
          {calibration.gpu.measured ? ", measured on this GPU" : " until this GPU is measured"}
        </span>
      )}
    </>
  );
}

function formatRate(flopsPerSecond: number): string {
  const [value, unit] = flopsPerSecond >= 1e12 ? [flopsPerSecond / 1e12, "T"] : [flopsPerSecond / 1e9, "G"];
  return `${Number(value.toPrecision(2))} ${unit}FLOP/s`;
}

const HIDDEN_PLACES: Readonly<Record<string, string>> = {
  gpu: "on the GPU",
  host: "in memory",
  file: "in a file",
};

function Calibration({ summary }: { summary: CalibrationSummary }) {
  const { samples, tokens, passes, weightsResident, hiddenStates, hiddenBytes } = summary;
  return (
    <>
      <Row name="Calibrated with">
        <Quiet>{counted(samples, "sample")},</Quiet>
        {counted(tokens, "token")}
      </Row>
      <Row name="Passes over them">
        <Quiet>for a layer</Quiet>
        {passes}
      </Row>
      <Row name="Weights meanwhile">
        {weightsResident ? "a layer at once" : "as much of a layer as fits, the rest piece by piece"}
      </Row>
      <Row name="Hidden states">
        <Quiet>{HIDDEN_PLACES[hiddenStates] ?? hiddenStates}</Quiet>
        {formatBytes(hiddenBytes)}
      </Row>
    </>
  );
}

const grouped = new Intl.NumberFormat("en");

function counted(count: number, noun: string): string {
  return `${grouped.format(count)} ${noun}${count === 1 ? "" : "s"}`;
}

function Quiet({ children }: { children: ComponentChildren }) {
  return <span class="quiet">{children} </span>;
}

function Row({ name, children }: { name: string; children: ComponentChildren }) {
  return (
    <tr>
      <th scope="row">{name}</th>
      <td>{children}</td>
    </tr>
  );
}

function StartButton() {
  const app = useApp();
  const { state } = app;
  const obstacle = startObstacle(app.state);
  const unfit = state.fit.value?.verdict === "does-not-fit";
  return (
    <div class="start">
      <button
        type="button"
        class={unfit ? "wide" : "primary wide"}
        disabled={obstacle !== null}
        aria-describedby="start-hint"
        onClick={() => void startJob(app)}
      >
        {unfit ? "Start anyway" : "Start"}
      </button>
      {unfit && (
        <button type="button" class="link" onClick={() => (state.storageShown.value = true)}>
          See what this browser keeps
        </button>
      )}
      <p id="start-hint" class="hint">
        {obstacle ??
          "Keep this tab open; it may be in the background. You can pause, and close it and go on later."}
      </p>
      <JobLink />
    </div>
  );
}

/** The planned job as an address of this page, for somebody else; and what of it no address can say. */
function JobLink() {
  const { state, pageUrl } = useApp();
  const [options, fit, reference] = [state.options.value, state.fit.value, state.reference.value];
  if (!options || !fit) return null;
  const address = reference?.kind === "address" ? reference.address : null;
  const calibrates = fit.calibration !== null;
  const link = jobLink(pageUrl, address, options, calibrates);
  const kind = calibrates ? options.calibration?.source.kind : null;
  const left = [
    ...(address === null ? ["the model’s files"] : []),
    ...(kind === "file" || kind === "stored" ? ["the calibration text"] : []),
  ];
  return (
    <p class="job-link hint">
      <CopyButton text={link ?? ""} label="Copy link" what="to this page with the job filled in" />
      {link === null
        ? "The recipe is too long for a link. Send it as a file."
        : `A link that fills in this job${left.length > 0 ? `, but for ${left.join(" and ")}` : ""}.`}
    </p>
  );
}

/** Said only where it takes a while: reading headers is done in a moment, reading a text is not. */
function whatIsPlanned({ options }: AppState): string | null {
  return options.value?.calibration ? "Reading the calibration text…" : null;
}

/** Why the job cannot start now, as a sentence, or null. */
function startObstacle({ adapterProblem, problem, planFailure, fit }: AppState): string | null {
  if (adapterProblem.value !== null) return "This needs a GPU, which this browser does not offer.";
  if (problem.value !== null) return problem.value;
  if (planFailure.value !== null) return "The recipe has to fit first.";
  return fit.value === null ? "The plan is being made." : null;
}
