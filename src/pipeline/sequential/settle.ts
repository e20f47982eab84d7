// Weights that come to the GPU to be quantized and stay there for the samples, while the Hessians that were used make room.

import type { QuantizerTurn } from "../../quantize/quantizer.ts";
import { openSettlingLayer, type SettlingLayer } from "../../onload/settling-layer.ts";
import { UploadRing } from "../../gpu/staging.ts";
import type { Capture } from "../../model/layer-linears.ts";
import { settlingRing } from "../calibration/plan-settling.ts";
import type { SettlingTurn } from "../calibration/layer-schedule.ts";
import type { LayerAtWork, LayerOutput } from "./layer-at-work.ts";

/** Where modules come to, and the turns in which they do. */
export interface Settling extends AsyncDisposable {
  readonly layer: SettlingLayer;
  readonly turns: readonly QuantizerTurn[];
  settles(module: string): boolean;
}

/** Null where the plan has no weights settle, and where somebody else wants them in host memory: trials, other shares. */
export async function openSettling(
  work: LayerAtWork,
  { meanings }: LayerOutput,
  captures: readonly Capture[],
): Promise<Settling | null> {
  const { schedule, services, layer, host, settling } = work;
  const planned = schedule.settling;
  if (!planned || services.share || meanings || work.outputs.length > 1) return null;
  const parts = { linears: layer.linears, vectors: layer.vectors.map(({ name }) => name) };
  settling.layer ??= await openSettlingLayer(services.gpu, services.uploads, host, parts);
  const to = settling.layer;
  const apart = settlingRing(services.plan.shape.ring);
  const own = apart && (await UploadRing.create(services.gpu, apart));
  const staying = new Set(planned.flatMap(({ capture, settles }) => (settles ? capture.modules : [])));
  return {
    layer: to,
    turns: turnsOf(planned, captures, (modules) => to.bring(modules, own ?? services.uploads)),
    settles: (module) => staying.has(module),
    async [Symbol.asyncDispose]() {
      await to.quiet();
      // A buffer must not be given back before the commands that use it are submitted.
      await services.gpu.queue.flush();
      own?.[Symbol.dispose]();
    },
  };
}

function turnsOf(
  planned: readonly SettlingTurn[],
  captures: readonly Capture[],
  bring: (modules: readonly string[]) => void,
): QuantizerTurn[] {
  const wanted = planned.filter(({ capture }) => captures.includes(capture));
  return wanted.map(({ capture, settles, brings }) => ({
    captures: [capture],
    overlap: settles,
    begin: () => bring(brings),
  }));
}
