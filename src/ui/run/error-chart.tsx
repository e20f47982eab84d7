import type { ModuleReport } from "../../api/compressor-api.ts";
import { chartErrors, type ChartPoint } from "./place-errors.ts";
import { formatPower } from "../words/format-error.ts";

export interface ErrorChartProps {
  readonly reports: readonly ModuleReport[];
  readonly layers: number;
}

/** Two marks a module, joined: what rounding to nearest would cost, and what GPTQ costs. It draws what the table says. */
export function ErrorChart({ reports, layers }: ErrorChartProps) {
  const { points, bands, ticks } = chartErrors(reports, layers);
  const dense = points.length > 80;
  return (
    <figure class="error-chart">
      <figcaption>
        <span class="unseen">A chart of the table’s errors on a logarithmic scale.</span>
        <span class="legend rtn">Round to nearest</span>
        <span class="legend gptq">GPTQ</span>
      </figcaption>
      <div class="plot">
        <div class="ticks" aria-hidden="true">
          {ticks.map(({ exponent, y }) => (
            <span key={exponent} style={{ insetBlockStart: `${y}%` }}>
              {formatPower(exponent)}
            </span>
          ))}
        </div>
        <svg aria-hidden="true" class={dense ? "dense" : ""}>
          {bands.map(({ x, width }) => (
            <rect key={x} class="band" x={`${x}%`} y="0" width={`${width}%`} height="100%" />
          ))}
          {ticks.map(({ exponent, y }) => (
            <line key={exponent} class="grid" x1="0" x2="100%" y1={`${y}%`} y2={`${y}%`} />
          ))}
          {points.map((point) => (
            <Point key={point.module} point={point} radius={dense ? 2 : 4} />
          ))}
        </svg>
      </div>
    </figure>
  );
}

function Point({ point: { module, x, gptq, rtn }, radius }: { point: ChartPoint; radius: number }) {
  const cx = `${x}%`;
  return (
    <g>
      <title>{module}</title>
      <line class="gain" x1={cx} x2={cx} y1={`${rtn}%`} y2={`${gptq}%`} />
      <circle class="rtn" cx={cx} cy={`${rtn}%`} r={radius} />
      <circle class="gptq" cx={cx} cy={`${gptq}%`} r={radius} />
    </g>
  );
}
