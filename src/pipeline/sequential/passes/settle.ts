// Weights that come to the GPU to be quantized and stay there for the samples, while the Hessians that were used make room.

import type { QuantizerRun } from "../../../quantize/quantizer.ts";
import { openSettlingLayer, type SettlingLayer } from "../../../onload/settling-layer.ts";
import type { Capture } from "../../../model/layer-linears.ts";
import type { LayerAtWork, LayerOutput } from "../layer-at-work.ts";

/** Where modules come to, and the order in which they do. */
export interface Settling extends AsyncDisposable, Pick<QuantizerRun, "order" | "reaches" | "phase"> {
  readonly layer: SettlingLayer;
}

/** Null where the plan has no weights settle, and where somebody else wants them in host memory: trials, other shares. */
export async function openSettling(
  work: LayerAtWork,
  { meanings }: LayerOutput,
  captures: readonly Capture[],
): Promise<Settling | null> {
  const { schedule, services, layer, host, settling } = work;
  if (!schedule.settling || services.share || meanings || work.outputs.length > 1) return null;
  const { turns: planned, tileRows } = schedule.settling;
  const parts = { linears: layer.linears, vectors: layer.vectors.map(({ name }) => name) };
  settling.layer ??= await openSettlingLayer(services.gpu, services.uploads, host, parts);
  const to = settling.layer;
  return {
    layer: to,
    order: planned.map(({ capture }) => capture).filter((capture) => captures.includes(capture)),
    phase: { tileRows },
    reaches(capture) {
      to.bring(planned.find((turn) => turn.capture === capture)?.brings ?? []);
    },
    async [Symbol.asyncDispose]() {
      await to.quiet();
    },
  };
}
