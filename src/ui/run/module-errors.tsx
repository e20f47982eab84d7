import { useMemo } from "preact/hooks";
import type { ModuleReport } from "../../api/compressor-api.ts";
import { ErrorChart } from "./error-chart.tsx";
import { formatPercent } from "../words/format-count.ts";
import { formatDuration } from "../words/format-duration.ts";
import { formatError } from "../words/format-error.ts";

export interface ModuleErrorsProps {
  readonly reports: readonly ModuleReport[];
  /** Layers of the model while they are being worked on, so that the chart leaves room; 0 when all are there. */
  readonly layers: number;
}

/** What GPTQ cost and gained, module by module; nothing where no module was quantized by it. */
export function ModuleErrors({ reports, layers }: ModuleErrorsProps) {
  // Drawn again when a module is finished, not whenever the figures around it tick.
  return useMemo(
    () => (reports.length === 0 ? null : <Report reports={reports} layers={layers} />),
    [reports, layers],
  );
}

function Report({ reports, layers }: ModuleErrorsProps) {
  return (
    <section class="module-errors panel" aria-labelledby="module-errors-heading">
      <div>
        <h2 id="module-errors-heading">Error by module</h2>
        <p>{summarize(reports)}</p>
        <p class="hint">
          The error is what quantizing changes in a module’s output for the calibration text: ½ tr(ΔW H ΔWᵀ),
          with the damped Hessian H of its input. Smaller is better; errors of two modules do not compare.
          Dead columns are those whose input was zero for every token.
        </p>
      </div>
      <ErrorChart reports={reports} layers={layers} />
      {/* What scrolls has to be reachable by keyboard, and to have a name. */}
      {/* oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex */}
      <section class="scrolled" aria-label="Errors in figures" tabIndex={0}>
        <Table reports={reports} />
      </section>
    </section>
  );
}

/** The modules' shares are averaged as ratios are, so that a module of large errors does not speak for all. */
function summarize(reports: readonly ModuleReport[]): string {
  const shares = reports.filter(({ loss, rtnLoss }) => loss > 0 && rtnLoss > 0);
  const worse = reports.filter(({ loss, rtnLoss }) => loss > rtnLoss).length;
  const modules = `${reports.length} ${reports.length === 1 ? "module" : "modules"}`;
  if (shares.length === 0) return `${modules} so far.`;
  const sum = shares.reduce((total, { loss, rtnLoss }) => total + Math.log(loss / rtnLoss), 0);
  const share = formatPercent(Math.exp(sum / shares.length));
  const exception = worse === 0 ? "" : ` In ${worse} of them, rounding to nearest would have been closer.`;
  return `GPTQ leaves ${share} of the error of rounding to nearest, on average over ${modules}.${exception}`;
}

function Table({ reports }: { reports: readonly ModuleReport[] }) {
  return (
    <table class="figures">
      <thead>
        <tr>
          <th scope="col">Module</th>
          <th scope="col">GPTQ</th>
          <th scope="col">Nearest</th>
          <th scope="col">Share</th>
          <th scope="col">Damping</th>
          <th scope="col">Dead</th>
          <th scope="col">Time</th>
        </tr>
      </thead>
      <tbody>
        {reports.map((report) => (
          <Row key={report.module} report={report} />
        ))}
      </tbody>
    </table>
  );
}

function Row({ report }: { report: ModuleReport }) {
  const { module, loss, rtnLoss, dampeningFrac, attempts, deadColumns, seconds } = report;
  return (
    <tr>
      <th scope="row">
        <code title={module}>{module.replace(/^model\./, "")}</code>
      </th>
      <td>{formatError(loss)}</td>
      <td>{formatError(rtnLoss)}</td>
      <td>{rtnLoss > 0 ? formatPercent(loss / rtnLoss) : "–"}</td>
      <td>
        {attempts > 1 && <span class="warn-text">{attempts} tries </span>}
        {dampeningFrac}
      </td>
      <td>{deadColumns}</td>
      <td>{seconds < 10 ? `${seconds.toFixed(1)} s` : formatDuration(seconds)}</td>
    </tr>
  );
}
