// Layers of equal shape, of which one is fitted to the GPU for all.

import type { Capture } from "../../../model/layer-linears.ts";
import { type CalibratedLayer, sharesOf } from "../layers/calibrated-layer.ts";
import type { LayerSchedule } from "./layer-schedule.ts";

/** For each of the layers the first one that has its shape. */
export function firstAlike(layers: readonly CalibratedLayer[]): CalibratedLayer[] {
  const known = new Map<string, CalibratedLayer>();
  return layers.map((layer) => {
    const key = layerKey(layer);
    const first = known.get(key) ?? layer;
    known.set(key, first);
    return first;
  });
}

/** Layers of equal shape fit in the same way: what of a layer tells how much it takes, and of what there is where. */
function layerKey(layer: CalibratedLayer): string {
  const { captures, linears, vectors, rewritings, drifting, dtypeOf } = layer;
  const shapesOf = (own: readonly Capture[]) => own.map(({ modules, columns }) => [modules.length, columns]);
  return JSON.stringify([
    rewritings.map(({ mappings, hessians }) => [
      mappings.map(({ balance, columns, block }) => [balance.length, columns, block]),
      shapesOf(hessians),
    ]),
    shapesOf(captures),
    drifting && shapesOf(drifting),
    linears.map(({ rows, columns, source }) => [rows, columns, dtypeOf(source.tensor)]),
    vectors.map(({ elements }) => elements),
    sharesOf(layer).map(({ tasks }) =>
      tasks.map(({ rows, columns, dtype, weights, modifier }) => [
        rows,
        columns,
        dtype,
        weights,
        modifier.name,
        modifier.settings ?? null,
      ]),
    ),
  ]);
}

/** The same schedule for another layer of equal shape, whose captures and tasks come in the same order. */
export function renamed(schedule: LayerSchedule, from: CalibratedLayer, to: CalibratedLayer): LayerSchedule {
  if (from === to) return schedule;
  const { passes, rewrites, tileRows, settling, ...rest } = schedule;
  const pairsOf = (own: readonly Capture[], other: readonly Capture[] = []) =>
    own.map((capture, index) => [capture, other[index] ?? capture] as const);
  const captureAt = new Map([
    ...pairsOf(from.captures, to.captures),
    ...from.rewritings.flatMap(({ hessians }, index) => pairsOf(hessians, to.rewritings[index]?.hessians)),
  ]);
  const renamedAll = (captures: readonly Capture[]) =>
    captures.map((capture) => captureAt.get(capture) ?? capture);
  const modulesOf = (layer: CalibratedLayer) =>
    sharesOf(layer).flatMap(({ tasks }) => tasks.map(({ module }) => module));
  const taskAt = namesOf(modulesOf(from), modulesOf(to));
  const linearAt = namesOf(linearsOf(from), linearsOf(to));
  const renamedRows = (rows: ReadonlyMap<string, number>) =>
    new Map(Array.from(rows, ([module, own]) => [taskAt(module), own]));
  return {
    ...rest,
    passes: passes.map(renamedAll),
    rewrites: rewrites.map((own) => own.map((pass) => ({ ...pass, captures: renamedAll(pass.captures) }))),
    tileRows: renamedRows(tileRows),
    settling: settling && {
      tileRows: renamedRows(settling.tileRows),
      turns: settling.turns.map((turn) => ({
        ...turn,
        capture: captureAt.get(turn.capture) ?? turn.capture,
        // Those that are not quantized come, too.
        brings: turn.brings.map(linearAt),
      })),
    },
  };
}

function linearsOf({ linears }: CalibratedLayer): readonly string[] {
  return linears.map(({ module }) => module);
}

/** What is called otherwise in another layer, by place. */
function namesOf(own: readonly string[], other: readonly string[]): (name: string) => string {
  const names = new Map(own.map((name, index) => [name, other[index] ?? name]));
  return (name) => names.get(name) ?? name;
}
