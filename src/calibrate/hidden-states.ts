// Where the hidden states of all samples wait between two layers: on the GPU while the budget holds them, else in host
// memory, else in a file. Stored as float32, or as bfloat16, which halves the space and rounds what layers see to 8 bits.

import { invariant } from "../errors.ts";
import type { Gpu } from "../gpu/gpu.ts";
import type { LedgerBuffer } from "../gpu/memory.ts";
import { narrow } from "../gpu/elements/narrow.ts";
import type { ReadbackRing } from "../gpu/staging/readback-ring.ts";
import type { UploadRing } from "../gpu/staging/upload-ring.ts";
import { widenBf16 } from "../gpu/elements/widen.ts";
import { widenRows } from "../gpu/elements/widen-rows.ts";
import type { SequenceBatch } from "./batches.ts";

export type HiddenPlace = "gpu" | "host" | "file";
export type HiddenDtype = "F32" | "BF16";

/** Verbatim storage that outlives the tab. */
export interface HiddenBytes {
  read(at: number, bytes: number): Uint8Array<ArrayBuffer>;
  write(at: number, bytes: Uint8Array<ArrayBuffer>): void;
}

export interface HiddenLayout {
  readonly batches: readonly SequenceBatch[];
  readonly hiddenSize: number;
  readonly dtype: HiddenDtype;
  readonly place: HiddenPlace;
}

/** Bytes of one token's stored hidden state. */
export function hiddenBytesPerToken({
  hiddenSize,
  dtype,
}: Pick<HiddenLayout, "hiddenSize" | "dtype">): number {
  return hiddenSize * (dtype === "F32" ? 4 : 2);
}

export interface HiddenStates extends Disposable {
  /** Copies a batch's states to (tokens, hidden) float32, which no other commands may use meanwhile. */
  load(batch: SequenceBatch, to: LedgerBuffer): Promise<void>;
  /**
   * Keeps a batch's states for the next layer; with `toFile` in its file, which outlives a crash, too. `free` is told when other commands
   * may write to `from`, which may be long before the states are kept.
   */
  save(batch: SequenceBatch, from: LedgerBuffer, toFile: boolean, free?: () => void): Promise<void>;
  /** True where `put` keeps the array that it is given; else it is free again. */
  readonly keepsArrays: boolean;
  /** Keeps states that were made on the host (embeddings), (tokens, hidden) float32; not for after a crash. */
  put(batch: SequenceBatch, values: Float32Array<ArrayBuffer>): Promise<void>;
  /** The same from rows of an embedding table, on the GPU; null where states do not lie there in float32. */
  readonly table: RowTable | null;
  /** After a layer, when the next one's file is flushed: from now on its states are the current ones. */
  turn(): void;
}

/** Rows of an embedding table in bfloat16, from which batches' states are made. */
export interface RowTable {
  /** As many rows as fit: at least as many as a batch has tokens. */
  readonly capacity: number;
  /** Takes rows without gaps; they lie from row `first` on. */
  fill(rows: Uint8Array, first: number): Promise<void>;
  /** A batch's states: for each token the row at `places`, times `multiplier`. */
  put(batch: SequenceBatch, places: Uint32Array<ArrayBuffer>, multiplier: number): Promise<void>;
}

export interface HiddenServices {
  readonly gpu: Gpu;
  readonly uploads: UploadRing;
  readonly readbacks: ReadbackRing;
  /** (max tokens, hidden) packed, for bfloat16; null for float32. */
  readonly packed: LedgerBuffer | null;
  /** (max tokens, hidden) float32: may be written to before the first layer is at work. */
  readonly scratch: LedgerBuffer;
  /** The file that holds the states that feed layer `generation`: two files take turns. */
  file(generation: number): HiddenBytes;
}

/**
 * Opens the states that feed layer `generation`.
 * @param stored true if the file of that generation has them; else they are empty, to be put
 */
export async function openHiddenStates(
  layout: HiddenLayout,
  services: HiddenServices,
  generation: number,
  stored = generation > 0,
): Promise<HiddenStates> {
  let current = generation;
  const perToken = hiddenBytesPerToken(layout);
  const rangeOf = (batch: SequenceBatch) => [batch.firstToken * perToken, batch.tokens * perToken] as const;
  const readFile = (batch: SequenceBatch) => services.file(current).read(...rangeOf(batch));
  const store = await openStore(layout, services, readFile);
  if (stored) for (const batch of layout.batches) await store.keep(batch, readFile(batch));
  const { packed } = services;
  return {
    async load(batch, to) {
      await store.load(batch, packed ?? to, batch.tokens * perToken);
      if (packed) await widenBf16(services.gpu, packed, to, batch.tokens * layout.hiddenSize);
    },
    async save(batch, from, toFile, free) {
      const count = batch.tokens * layout.hiddenSize;
      if (packed) await narrow(services.gpu, from, packed, count, "BF16");
      const source = packed ?? from;
      const [at, length] = rangeOf(batch);
      if (store.copy) await store.copy(batch, source, length);
      if (store.copy && !toFile) return;
      const bytes = store.roomFor(batch, length);
      const keep = (view: Uint8Array, position: number) => bytes.set(view, position);
      await services.readbacks.read(source, 0, length, keep, free);
      if (toFile) services.file(current + 1).write(at, bytes);
      if (!store.copy) await store.keep(batch, bytes);
    },
    keepsArrays: layout.place === "host" && !packed,
    async put(batch, values) {
      const { buffer, byteOffset, byteLength } = packed ? toBf16(values) : values;
      const bytes = new Uint8Array(buffer, byteOffset, byteLength);
      if (layout.place === "file") services.file(current).write(rangeOf(batch)[0], bytes);
      else await store.keep(batch, bytes);
    },
    table: packed ? null : store.table,
    turn() {
      current += 1;
    },
    [Symbol.dispose]() {
      store[Symbol.dispose]();
    },
  };
}

interface BatchStore extends Disposable {
  load(batch: SequenceBatch, to: LedgerBuffer, bytes: number): Promise<void>;
  keep(batch: SequenceBatch, bytes: Uint8Array<ArrayBuffer>): Promise<void>;
  /** Host memory for a batch's new states: that of its old ones where those wait there, since memory that is new costs as much as reading. */
  roomFor(batch: SequenceBatch, bytes: number): Uint8Array<ArrayBuffer>;
  /** Keeps what lies on the GPU, without the host in between; null for a store in host memory or a file. */
  readonly copy: ((batch: SequenceBatch, source: LedgerBuffer, bytes: number) => Promise<void>) | null;
  readonly table: RowTable | null;
}

async function openStore(
  layout: HiddenLayout,
  services: HiddenServices,
  readFile: (batch: SequenceBatch) => Uint8Array<ArrayBuffer>,
): Promise<BatchStore> {
  if (layout.place === "gpu") return await gpuStore(layout, services);
  const kept = new Map<SequenceBatch, Uint8Array<ArrayBuffer>>();
  return {
    async load(batch, to) {
      await services.uploads.writeAhead(kept.get(batch) ?? readFile(batch), to);
    },
    async keep(batch, bytes) {
      if (layout.place === "host") kept.set(batch, bytes);
      await Promise.resolve();
    },
    roomFor: (batch, bytes) => kept.get(batch) ?? new Uint8Array(bytes),
    copy: null,
    table: null,
    [Symbol.dispose]() {
      kept.clear();
    },
  };
}

async function gpuStore(
  layout: HiddenLayout,
  { gpu, uploads, scratch }: HiddenServices,
): Promise<BatchStore> {
  const perToken = hiddenBytesPerToken(layout);
  const requests = layout.batches.map(({ tokens }, index) => ({
    label: `hidden states of batch ${index + 1}`,
    bytes: tokens * perToken,
  }));
  const buffers: readonly LedgerBuffer[] = await gpu.memory.allocateAll(requests);
  const bufferOf = (batch: SequenceBatch) => {
    const buffer = buffers[layout.batches.indexOf(batch)];
    invariant(buffer, "a buffer for each batch");
    return buffer;
  };
  return {
    async load(batch, to, bytes) {
      await gpu.queue.copy({ of: bufferOf(batch), offset: 0 }, { of: to, offset: 0 }, bytes);
    },
    async keep(batch, bytes) {
      await uploads.write(bytes, bufferOf(batch));
    },
    roomFor: (_, bytes) => new Uint8Array(bytes),
    async copy(batch, source, bytes) {
      await gpu.queue.copy({ of: source, offset: 0 }, { of: bufferOf(batch), offset: 0 }, bytes);
    },
    table: rowTable(layout, { gpu, uploads, scratch }, bufferOf),
    [Symbol.dispose]() {
      for (const buffer of buffers) buffer[Symbol.dispose]();
    },
  };
}

/** In the buffer of the batch at work, which no layer uses yet. */
function rowTable(
  { hiddenSize }: HiddenLayout,
  { gpu, uploads, scratch }: Pick<HiddenServices, "gpu" | "uploads" | "scratch">,
  bufferOf: (batch: SequenceBatch) => LedgerBuffer,
): RowTable {
  const rowBytes = hiddenSize * 2;
  return {
    capacity: Math.floor(scratch.bytes / rowBytes),
    async fill(rows, first) {
      await uploads.write(rows, scratch, first * rowBytes);
    },
    async put(batch, places, multiplier) {
      using at = await gpu.memory.allocate({ label: "rows of tokens", bytes: places.byteLength });
      await uploads.write(new Uint8Array(places.buffer, places.byteOffset, places.byteLength), at);
      const shape = { count: batch.tokens, columns: hiddenSize };
      await widenRows(gpu, { table: scratch, places: at }, bufferOf(batch), shape, multiplier);
    },
  };
}

/** Rounds to nearest, ties to even; hidden states are finite. */
function toBf16(values: Float32Array): Uint16Array<ArrayBuffer> {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const halves = new Uint16Array(bits.length);
  // A plain loop: from() with a callback takes ten times as long.
  for (let at = 0; at < bits.length; at++) {
    const word = bits[at] ?? 0;
    halves[at] = (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
  }
  return halves;
}
