import { formatBytes } from "../../formats/text/format-bytes.ts";
import type { ResultSummary } from "../../api/compressor-api.ts";
import { useApp } from "../parts/app-context.ts";
import { BITS_SENTENCE, bitsText } from "../words/bits-text.ts";
import { formatPercent } from "../words/format-count.ts";
import { formatDuration } from "../words/format-duration.ts";
import { chooseAnother } from "../actions/inspect-model.ts";
import { LoadExamples } from "./load-examples.tsx";
import { ModuleErrors } from "../run/module-errors.tsx";
import { inOrder, phaseName } from "../words/phase-words.ts";
import { PublishPanel } from "./publish-panel.tsx";
import { RunResults } from "./run-results.tsx";
import { SaveButtons } from "./save-buttons.tsx";
import { TryResult } from "../try/try-result.tsx";

export function ResultView() {
  const app = useApp();
  const result = app.state.result.value;
  if (!result) return null;
  return (
    <div class="done">
      <div class="head-line">
        <h1 id="state-heading" tabIndex={-1}>
          {result.dequantized ? "Dequantized" : "Compressed"} <span class="quiet">{result.name}</span>
        </h1>
        <button type="button" class="link" onClick={() => chooseAnother(app)}>
          Compress another
        </button>
      </div>
      <RunResults />
      <BeforeAfter result={result} />
      <SaveButtons />
      {result.notes.length > 0 && (
        <ul class="notes">
          {result.notes.map((note) => (
            <li key={note}>{note}</li>
          ))}
        </ul>
      )}
      <ModuleErrors reports={result.modules} layers={0} />
      <TryResult />
      <PublishPanel />
      <LoadExamples name={result.name} />
      <div class="result-columns">
        <Files result={result} />
        <Figures result={result} />
      </div>
    </div>
  );
}

function BeforeAfter({ result }: { result: ResultSummary }) {
  const share = result.sourceBytes > 0 ? result.resultBytes / result.sourceBytes : 1;
  return (
    <section class="panel before-after" aria-label="Size">
      <p class="big-line">
        <span class="big">{formatPercent(share)}</span>
        <span class="left">of the original size</span>
        <span class="left right">{bitsText(result.bitsPerWeight)}</span>
      </p>
      <dl class="bars">
        <Bar name="Before" bytes={result.sourceBytes} share={1 / Math.max(1, share)} />
        <Bar name="After" bytes={result.resultBytes} share={share / Math.max(1, share)} />
      </dl>
      <p class="hint">{BITS_SENTENCE}</p>
    </section>
  );
}

function Bar({ name, bytes, share }: { name: string; bytes: number; share: number }) {
  return (
    <div class={`bar ${name.toLowerCase()}`}>
      <dt>{name}</dt>
      <dd>
        <span class="bar-figure">{formatBytes(bytes)}</span>
        <span class="bar-track" aria-hidden="true">
          <span style={{ inlineSize: `${share * 100}%` }} />
        </span>
      </dd>
    </div>
  );
}

function Files({ result }: { result: ResultSummary }) {
  return (
    <section aria-labelledby="files-heading">
      <h2 id="files-heading">Files</h2>
      <table class="figures">
        <tbody>
          {result.files.map(({ path, bytes }) => (
            <tr key={path}>
              <th scope="row">
                <code>{path}</code>
              </th>
              <td>{formatBytes(bytes)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

function Figures({ result }: { result: ResultSummary }) {
  const { total, ...phases } = result.seconds;
  return (
    <section aria-labelledby="figures-heading">
      <h2 id="figures-heading">Figures</h2>
      <table class="figures">
        <tbody>
          {inOrder(phases).map(([phase, seconds]) => (
            <tr key={phase}>
              <th scope="row">{phaseName(phase)}</th>
              <td>{formatDuration(seconds)}</td>
            </tr>
          ))}
          {total !== undefined && (
            <tr class="sum">
              <th scope="row">Whole job</th>
              <td>{formatDuration(total)}</td>
            </tr>
          )}
          <tr>
            <th scope="row">Peak GPU memory</th>
            <td>{formatBytes(result.peakGpuBytes)}</td>
          </tr>
          <tr>
            <th scope="row">Longest hold of the GPU</th>
            <td>{Math.round(result.worstSubmitMs)} ms</td>
          </tr>
        </tbody>
      </table>
    </section>
  );
}
