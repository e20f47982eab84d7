export interface GaugeProps {
  readonly label: string;
  readonly value: number;
  readonly max: number;
  /** A second value that is marked on the scale, such as a peak. */
  readonly mark?: number;
}

/** A native meter with a thin mark for a second value. The figures stand as text beside it; it only draws them. */
export function Gauge({ label, value, max, mark }: GaugeProps) {
  const over = value > max;
  return (
    <span class={over ? "gauge over" : "gauge"}>
      <meter aria-label={label} min={0} max={Math.max(max, 1)} value={Math.min(value, max)} />
      {mark !== undefined && max > 0 && (
        <span
          class="gauge-mark"
          aria-hidden="true"
          style={{ insetInlineStart: `${Math.min(100, (mark / max) * 100)}%` }}
        />
      )}
    </span>
  );
}
