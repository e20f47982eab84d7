import { computed } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useMemo } from "preact/hooks";
import { formatBytes } from "../../formats/text/format-bytes.ts";
import type { Progress } from "../../api/compressor-api.ts";
import { useApp } from "../parts/app-context.ts";
import type { App } from "../state/app-state.ts";
import { capitalize } from "../words/capitalize.ts";
import { formatPercent } from "../words/format-count.ts";
import { formatDuration } from "../words/format-duration.ts";
import { Gauge } from "../parts/gauge.tsx";
import { LayerStrip } from "./layer-strip.tsx";
import { ModuleErrors } from "./module-errors.tsx";
import { PHASE_WORDS } from "../words/phase-words.ts";
import { timeLeftText } from "../words/time-left-text.ts";
import { doneShare } from "../state/title-text.ts";

export function RunView() {
  const { state } = useApp();
  const progress = state.progress.value;
  const name = state.model.value?.source.name ?? "the model";
  return (
    <div class="run">
      <div class="head-line">
        <h1 id="state-heading" tabIndex={-1}>
          {progress?.paused ? "Paused" : "Compressing"} <span class="quiet">{name}</span>
        </h1>
        <RunButtons progress={progress} />
      </div>
      <Spoken />
      {progress ? <RunningFigures progress={progress} /> : <Beginning />}
      <ModuleErrors reports={state.modules.value} layers={state.model.value?.layers ?? 0} />
    </div>
  );
}

/** Until the job's first report. */
function Beginning() {
  return (
    <div class="panel overall-panel">
      <progress class="overall" aria-label="Job" />
      <p class="hint">{PHASE_WORDS.starting.sentence}</p>
    </div>
  );
}

/** Said to screen readers once a step, not at every tick. */
function Spoken() {
  const app = useApp();
  const sentence = useMemo(() => computed(() => stepSentence(app)), [app]);
  return <output class="unseen">{sentence.value}</output>;
}

function stepSentence({ state }: App): string {
  const progress = state.progress.value;
  if (!progress) return "Starting.";
  if (progress.paused) return `Paused, ${timeLeftText(progress)}.`;
  const { phase, step, steps, stepName } = progress;
  const { name, wholeJob } = PHASE_WORDS[phase];
  return wholeJob ? `${name}.` : `Step ${step} of ${steps}, ${stepName}.`;
}

/** Usable once the job reports: before that there is nothing that could be paused. */
function RunButtons({ progress }: { progress: Progress | null }) {
  const { services } = useApp();
  const { compressor } = services;
  const paused = progress?.paused ?? false;
  return (
    <div class="buttons">
      <button
        type="button"
        disabled={progress === null}
        onClick={() => void (paused ? compressor.resume() : compressor.pause())}
      >
        {paused ? "Resume" : "Pause"}
      </button>
      <button type="button" disabled={progress === null} onClick={() => void compressor.cancel()}>
        Cancel
      </button>
    </div>
  );
}

function RunningFigures({ progress }: { progress: Progress }) {
  const share = doneShare(progress);
  const { source } = progress;
  const notices = [progress.notice, source.waiting && `${capitalize(source.waiting)}.`].filter(
    (text) => text,
  );
  return (
    <>
      <div class="run-columns">
        <section class="panel overall-panel" aria-label="Progress">
          <p class="big-line">
            <span class="big">{formatPercent(share)}</span>
            <span class="left">{timeLeftText(progress)}</span>
          </p>
          <progress class="overall" aria-label="Job" max={1} value={share} />
          <LayerStrip step={progress.step} steps={progress.steps} finished={share === 1} />
          <Now progress={progress} />
        </section>
        <Instruments progress={progress} />
      </div>
      <output class="notes">
        {notices.map((notice) => (
          <span key={notice}>{notice}</span>
        ))}
      </output>
    </>
  );
}

/** Phase, step and what of it is at work, and in a sentence what that means. */
function Now({ progress }: { progress: Progress }) {
  const { phase, step, steps, stepName, detail } = progress;
  const { name, sentence } = PHASE_WORDS[phase];
  return (
    <div>
      <p class="now">
        <span class="phase">{name}</span>
        <code>{stepName}</code>
        {detail !== null && <span class="quiet">{withoutStep(detail, stepName)}</span>}
        <span class="quiet steps">
          step {step} of {steps}
        </span>
      </p>
      <p class="hint phase-hint">{sentence}</p>
    </div>
  );
}

/** "mlp.up_proj" of "model.layers.3.mlp.up_proj", since the step is named beside it. */
function withoutStep(detail: string, stepName: string): string {
  return detail.startsWith(`${stepName}.`) ? detail.slice(stepName.length + 1) : detail;
}

/** The smaller figures: bytes, network, time, and the GPU's memory against its budget. */
function Instruments({ progress }: { progress: Progress }) {
  const { source, gpuBytes, gpuPeakBytes, gpuBudgetBytes } = progress;
  const rate = source.bytesPerSecond > 0 ? `${formatBytes(source.bytesPerSecond)}/s` : "idle";
  return (
    <section class="panel instruments" aria-label="Instruments">
      <div class="gpu">
        <p class="gpu-line">
          <span class="quiet">GPU memory</span>
          <strong>{formatBytes(gpuBytes)}</strong>
        </p>
        <Gauge label="GPU memory in use" value={gpuBytes} max={gpuBudgetBytes} mark={gpuPeakBytes} />
        <p class="hint">
          {formatBytes(gpuPeakBytes)} peak · {formatBytes(gpuBudgetBytes)} budget
        </p>
      </div>
      <table class="figures">
        <tbody>
          <Figure name="Compressed">
            {formatBytes(progress.bytesDone)} <span class="quiet">of {formatBytes(progress.bytesTotal)}</span>
          </Figure>
          <Figure name="Downloaded">{formatBytes(source.downloadedBytes)}</Figure>
          <Figure name="Network">{rate}</Figure>
          <Figure name="In storage">{formatBytes(source.storedBytes)}</Figure>
          <Figure name="Running for">{formatDuration(progress.secondsElapsed)}</Figure>
        </tbody>
      </table>
    </section>
  );
}

function Figure({ name, children }: { name: string; children: ComponentChildren }) {
  return (
    <tr>
      <th scope="row">{name}</th>
      <td>{children}</td>
    </tr>
  );
}
