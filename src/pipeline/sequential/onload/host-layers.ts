// Layers from the source onto the host, one ahead: the next one is read while this one is at work, if memory holds both.

import { allEnded } from "../../../all-ended.ts";
import { invariant } from "../../../errors.ts";
import { memoryBytes, type HostBytes } from "../../../onload/host-bytes.ts";
import { type LayerFile, type LayerRoom, openLayerRoom } from "../../../onload/layer-room.ts";
import type { HostLayer, HostTensor } from "../../../onload/host-layer.ts";
import type { PlanStep } from "../../../plan/plan-steps.ts";
import type { SourceTensor } from "../../../plan/checkpoint/read-headers.ts";
import { hostLayerBytes } from "../../calibration/memory/host-memory.ts";
import type { StepTraffic } from "../../job/step-traffic.ts";
import type { TileTraffic } from "../../job/traffic.ts";
import { type PlannedStep, tensorsOf } from "../../planning/planned-step.ts";

/** Tensors that come at a time where some go to a file: as much of them is in memory twice. */
const LANES = 8;
/** They go there in pieces of so many bytes. */
const PIECE_BYTES = 16 * 1024 ** 2;

/** Layers on their way onto the host. */
export interface HostLayers {
  take(step: PlannedStep): Promise<HostLayer>;
  /** A layer that is being read, or waits to be taken; null if that was not begun, or it is taken. */
  coming(step: PlannedStep): Promise<HostLayer> | null;
  /** Begins to read a layer. */
  readAhead(step: PlannedStep): void;
  /** Begins to read the layer after `step`, unless that was begun. */
  readAfter(step: PlannedStep): void;
  /** Resolves when no layer is being read, however that ends. */
  quiet(): Promise<void>;
}

/** Where layers lie: in memory, of which two may take so much together, and what one alone has no room for there in the file. */
export interface HostRoom {
  readonly memoryBytes: number;
  /** Null where each layer has room in memory. */
  readonly file: LayerFile | null;
}

/** Layers of `steps`, read through `traffic`. Of two that memory does not hold, the next one is read when this one is done with. */
export function createHostLayers(
  steps: readonly PlannedStep[],
  traffic: StepTraffic,
  { memoryBytes: most, file }: HostRoom,
): HostLayers {
  const ahead = new Map<PlannedStep, Promise<HostLayer>>();
  const underWay = new Set<Promise<unknown>>();
  const read = async (step: PlannedStep) => {
    const reading = readHostLayer(step, traffic, openLayerRoom(most, file));
    underWay.add(reading);
    try {
      return await reading;
    } finally {
      underWay.delete(reading);
    }
  };
  const readAhead = (step: PlannedStep) => {
    const reading = read(step);
    // If what comes before it fails, nobody asks for it, and why it failed too is of no interest.
    reading.catch(() => undefined);
    ahead.set(step, reading);
  };
  return {
    coming: (step) => ahead.get(step) ?? null,
    quiet: async () => void (await Promise.allSettled(underWay)),
    readAhead,
    async take(step) {
      const reading = ahead.get(step) ?? read(step);
      ahead.delete(step);
      return await reading;
    },
    readAfter(step) {
      const next = steps[steps.indexOf(step) + 1];
      if (next && !ahead.has(next) && hostBytes(step) + hostBytes(next) <= most) readAhead(next);
    },
  };
}

function hostBytes({ calibrated }: PlannedStep): number {
  return calibrated ? hostLayerBytes(calibrated) : 0;
}

/** All tensors of a layer, each where there is room for it. */
async function readHostLayer(step: PlannedStep, traffic: StepTraffic, room: LayerRoom): Promise<HostLayer> {
  const placed = tensorsOf(step).map((tensor) => ({ tensor, place: room.take(tensor.end - tensor.start) }));
  const tensors = new Map<string, HostTensor>();
  const put = ({ name, dtype, shape }: SourceTensor, bytes: HostBytes) => {
    const columns = shape.length > 1 ? (shape.at(-1) ?? 1) : 1;
    tensors.set(name, { dtype, columns, bytes });
  };
  const take = async ({ tensor, place }: (typeof placed)[number]) => {
    const { file: path, start, end } = tensor;
    if (!place) return put(tensor, memoryBytes(await traffic.take({ path, start, end })));
    for (let at = start; at < end; at += PIECE_BYTES) {
      const range = { path, start: at, end: Math.min(at + PIECE_BYTES, end) };
      place.write(at - start, await traffic.take(range));
    }
    put(tensor, place);
  };
  if (placed.every(({ place }) => place === null)) await Promise.all(placed.map(take));
  else {
    const inOrder = eachOnce(placed.toSorted(byPlace));
    const lane = async () => {
      for (const each of inOrder) {
        await traffic.checkpoint();
        await take(each);
      }
    };
    await allEnded(Array.from({ length: LANES }, lane));
  }
  return { tensors, replaced: new Map(), allocate: room.allocate };
}

/** Items for several lanes: one that fails ends the generator, and so the others. */
function* eachOnce<Item>(items: readonly Item[]): Generator<Item, undefined> {
  yield* items;
}

/** As they lie in the source, which is the order in which they are fetched. */
function byPlace({ tensor: a }: { tensor: SourceTensor }, { tensor: b }: { tensor: SourceTensor }): number {
  return a.file < b.file ? -1 : a.file > b.file ? 1 : a.start - b.start;
}

/** Traffic that reads tensors from the layer on the host, as its modifiers left them; the layer's own progress counts their bytes. */
export function hostTraffic(step: PlanStep, host: HostLayer, traffic: TileTraffic): TileTraffic {
  const own = [...step.copy, ...step.quantize.map(({ tensor }) => tensor)];
  return {
    ...traffic,
    async read({ path, start, end }) {
      const tensor = own.find(
        (candidate) => candidate.file === path && candidate.start <= start && end <= candidate.end,
      );
      const bytes = tensor && host.tensors.get(tensor.name)?.bytes;
      invariant(tensor && bytes, "the layer's tensors are on the host");
      return await Promise.resolve(bytes.read(start - tensor.start, end - tensor.start));
    },
    recycle: () => undefined,
    finished: () => undefined,
  };
}
