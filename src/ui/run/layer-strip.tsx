/** More cells than this are too narrow to tell apart on a phone; longer models share cells. */
const MAX_CELLS = 128;

export interface LayerStripProps {
  /** Step that is being worked on, counted from 1. */
  readonly step: number;
  readonly steps: number;
  readonly finished: boolean;
}

/** One cell a step: finished, in work, or still to come. It draws what the text below it says. */
export function LayerStrip({ step, steps, finished }: LayerStripProps) {
  const cells = Math.min(steps, MAX_CELLS);
  const current = finished ? cells : Math.floor(((step - 1) / Math.max(steps, 1)) * cells);
  return (
    <div class="layer-strip" aria-hidden="true">
      {Array.from({ length: cells }, (_, index) => (
        <span key={index} class={index < current ? "finished" : index === current ? "current" : ""} />
      ))}
    </div>
  );
}
