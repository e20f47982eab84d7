import type { ComponentChildren } from "preact";
import { formatBytes } from "../../formats/text/format-bytes.ts";
import type { CalibrationSummary, FitReport } from "../../api/compressor-api.ts";
import { useApp } from "../parts/app-context.ts";
import { formatPercent } from "../words/format-count.ts";
import { formatDuration } from "../words/format-duration.ts";
import { Gauge } from "../parts/gauge.tsx";
import { UNQUANTIZED } from "../state/recipe/read-scheme.ts";

/** What the job takes and makes, in numbers; those that not every recipe has come last. */
export function Figures({ fit }: { fit: FitReport }) {
  const needed = fit.indexedDbBytes + fit.opfsBytes + fit.layerFileBytes;
  return (
    <table class="figures">
      <tbody>
        {fit.results.length > 1 ? <Several fit={fit} /> : <Result fit={fit} />}
        <Row name="To download">{formatBytes(fit.downloadBytes)}</Row>
        <Row name="Peak GPU memory">
          {formatBytes(fit.peakGpuBytes)} <span class="quiet">of {formatBytes(fit.gpuBudgetBytes)}</span>
          <Gauge label="Peak GPU memory of the budget" value={fit.peakGpuBytes} max={fit.gpuBudgetBytes} />
        </Row>
        <Row name="Space for downloads">{formatBytes(fit.indexedDbBytes)}</Row>
        <Row name="Space for the result">{formatBytes(fit.opfsBytes)}</Row>
        {fit.layerFileBytes > 0 && (
          <Row name="Space for layers at work">{formatBytes(fit.layerFileBytes)}</Row>
        )}
        <Row name="Space free">
          {fit.freeBytes === null ? "not told by this browser" : formatBytes(fit.freeBytes)}
          {fit.freeBytes !== null && (
            <Gauge label="Space needed of what is free" value={needed} max={fit.freeBytes} />
          )}
        </Row>
        <Counts fit={fit} />
        <Row name="Time">
          <Time fit={fit} />
        </Row>
        {fit.calibration && <Calibration summary={fit.calibration} />}
      </tbody>
    </table>
  );
}

function Result({ fit }: { fit: FitReport }) {
  const sourceBytes = useApp().state.model.value?.weightBytes ?? 0;
  return (
    <>
      <Row name="Result">
        {sourceBytes > 0 && <Quiet>{formatPercent(fit.resultBytes / sourceBytes)}</Quiet>}
        {formatBytes(fit.resultBytes)}
      </Row>
      <Row name="Bits per weight">
        <Quiet>in the layers</Quiet>
        {fit.bitsPerWeight.toFixed(2)}
      </Row>
    </>
  );
}

/** Each result of a run that makes several, and whose error is calibrated against where there is a text. */
function Several({ fit: { results, calibration } }: { fit: FitReport }) {
  const leading = calibration ? results.find(({ leads }) => leads) : undefined;
  return (
    <>
      {results.map(({ scheme, recipeYaml, resultBytes, bitsPerWeight }) => (
        <Row key={recipeYaml} name={scheme}>
          <Quiet>{bitsPerWeight.toFixed(2)} bits</Quiet>
          {formatBytes(resultBytes)}
        </Row>
      ))}
      {leading && <Row name="Later layers see">the error of {leading.scheme}</Row>}
    </>
  );
}

/** What becomes of the tensors; those that are dequantized are copied as the plain weights that they mean. */
function Counts({ fit }: { fit: FitReport }) {
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
function Time({ fit: { estimatedSeconds, calibration } }: { fit: FitReport }) {
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
