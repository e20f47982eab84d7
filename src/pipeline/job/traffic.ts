// How a step reads its source and hands over its result.

import type { FileRange } from "../../formats/files/file-ranges.ts";
import type { LedgerBuffer } from "../../gpu/memory.ts";
import type { JointWork } from "../../joint-work.ts";

/** What reads of the source go through. */
export interface SourceTraffic {
  /** What is under way, which ends together where a part of it fails. */
  readonly joint: JointWork;
  /** Bytes of the source; the array is ours. */
  read(range: FileRange): Promise<Uint8Array<ArrayBuffer>>;
  /** Waits while the job is paused; throws an AbortError when it is cancelled, and what failed first where another part has. */
  checkpoint(): Promise<void>;
  /** Takes back an array that `read` gave: it may be given again. */
  recycle(bytes: Uint8Array<ArrayBuffer>): void;
  /** A range of the source that is done with. */
  finished(range: FileRange): void;
}

/** What a tile needs of the world around it. */
export interface TileTraffic extends SourceTraffic {
  /** Puts a part of an output tensor into the result. */
  write(tensor: string, offset: number, bytes: Uint8Array<ArrayBuffer>): void;
  /** Σx² of each input column by module, for modules whose observer weighs columns by it. */
  readonly squares?: ReadonlyMap<string, Float32Array>;
  /** Brings rows of a module's weight to a buffer, where they need not be read: they lie on the GPU. */
  readonly load?: (module: string, firstRow: number, rows: number, to: LedgerBuffer) => Promise<void>;
}
