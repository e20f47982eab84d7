import { allEnded } from "../../all-ended.ts";
import type { LedgerBuffer } from "../memory.ts";
import { Pool } from "./pool.ts";
import { mapPiece, paddedBytes, ringBytes, ringPieces, type RingGpu, type RingSize } from "./ring-pieces.ts";

const SMALL_PIECES = 4;
const MAX_SMALL_BYTES = 1024 ** 2;

/** Small reads have pieces of their own: those that wait for large ones wait for all that the GPU is given meanwhile. */
function smallPieces({ pieceBytes }: RingSize): RingSize {
  const bytes = Math.min(pieceBytes / 8, MAX_SMALL_BYTES);
  return { pieceBytes: Math.max(Math.floor(bytes / 4) * 4, 16), pieces: SMALL_PIECES };
}

/** GPU bytes that a ring for readbacks holds; the planner's figure. */
export function readbackRingBytes(size: RingSize): number {
  return ringBytes(size) + ringBytes(smallPieces(size));
}

/** What is read of a buffer: `offset` is a multiple of 4. */
export interface ReadPart {
  readonly from: LedgerBuffer;
  readonly offset: number;
  readonly bytes: number;
  /** Gets mapped memory piece by piece, valid only during the call, with its position in the range. */
  readonly consume: (view: Uint8Array<ArrayBuffer>, position: number) => void;
}

interface PieceSet {
  readonly pool: Pool<LedgerBuffer>;
  readonly bytes: number;
}

/** GPU to host. */
export class ReadbackRing implements Disposable {
  readonly #gpu: RingGpu;
  readonly #pieces: readonly LedgerBuffer[];
  readonly #large: PieceSet;
  readonly #small: PieceSet;

  /** @param pieces the large ones, and the small ones behind them */
  private constructor(gpu: RingGpu, pieces: readonly LedgerBuffer[], size: RingSize) {
    this.#gpu = gpu;
    this.#pieces = pieces;
    this.#large = { pool: new Pool(pieces.slice(0, size.pieces)), bytes: size.pieceBytes };
    this.#small = { pool: new Pool(pieces.slice(size.pieces)), bytes: smallPieces(size).pieceBytes };
  }

  static async create(gpu: RingGpu, size: RingSize): Promise<ReadbackRing> {
    const usage = GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST;
    const small = ringPieces("small readbacks", smallPieces(size), usage);
    const pieces = [...ringPieces("readback ring", size, usage), ...small];
    return new ReadbackRing(gpu, await gpu.memory.allocateAll(pieces), size);
  }

  /**
   * Reads `bytes` of `from` at `offset` (a multiple of 4) once everything recorded before is done. `consume` gets the
   * mapped memory piece by piece, valid only during the call, with its position in the range. The copies of as many pieces
   * as the ring has are on their way at once. `copied` is told when the copies of all pieces are: other commands may then write to what is
   * read.
   */
  async read(
    from: LedgerBuffer,
    offset: number,
    bytes: number,
    consume: (view: Uint8Array<ArrayBuffer>, position: number) => void,
    copied: () => void = () => undefined,
  ): Promise<void> {
    const begun: Promise<{ readonly done: Promise<void> }>[] = [];
    const set = bytes <= this.#small.bytes ? this.#small : this.#large;
    for (let done = 0; done < bytes; done += set.bytes) {
      const length = Math.min(set.bytes, bytes - done);
      const piece = await set.pool.acquire();
      const part = { from, offset: offset + done, bytes: length };
      const reading = this.#begin(set, piece, [{ ...part, consume: (view) => consume(view, done) }]);
      // It is waited for below, after the copies of all pieces are on their way.
      reading.catch(() => undefined);
      begun.push(reading);
    }
    // Where one fails, none may give to `consume` behind that.
    const reads = await allEnded(begun);
    copied();
    await allEnded(reads.map(async ({ done }) => await done));
  }

  /** Reads several parts as `read` does; those that fit a piece together are waited for once. */
  async readParts(parts: readonly ReadPart[]): Promise<void> {
    await (
      await this.startParts(parts)
    ).done;
  }

  /** The same, resolved as soon as other commands may write to what is read; `done` when it was. */
  async startParts(parts: readonly ReadPart[]): Promise<{ readonly done: Promise<void> }> {
    const total = parts.reduce((sum, { bytes }) => sum + paddedBytes(bytes), 0);
    const set = total <= this.#small.bytes ? this.#small : this.#large;
    if (total > set.bytes) {
      const reads = parts.map(
        async ({ from, offset, bytes, consume }) => await this.read(from, offset, bytes, consume),
      );
      await allEnded(reads);
      return { done: Promise.resolve() };
    }
    return await this.#begin(set, await set.pool.acquire(), parts);
  }

  /** Begins to read parts that a piece holds one behind the other; the piece goes back when they are read. */
  async #begin(
    set: PieceSet,
    piece: LedgerBuffer,
    parts: readonly ReadPart[],
  ): Promise<{ readonly done: Promise<void> }> {
    try {
      await this.#copyParts(piece, parts);
    } catch (error) {
      set.pool.release(piece);
      throw error;
    }
    // What it begins with submits the copies.
    const done = this.#takeParts(piece, parts).finally(() => set.pool.release(piece));
    // Until someone waits for it a failure must not count as unhandled.
    done.catch(() => undefined);
    return { done };
  }

  async #copyParts(piece: LedgerBuffer, parts: readonly ReadPart[]): Promise<void> {
    let end = 0;
    for (const { from, offset, bytes } of parts) {
      const padded = paddedBytes(bytes);
      await this.#gpu.queue.copy({ of: from, offset }, { of: piece, offset: end }, padded);
      end += padded;
    }
  }

  async #takeParts(piece: LedgerBuffer, parts: readonly ReadPart[]): Promise<void> {
    const total = parts.reduce((sum, { bytes }) => sum + paddedBytes(bytes), 0);
    await this.#gpu.queue.flush();
    await mapPiece(piece, GPUMapMode.READ, total);
    try {
      const mapped = new Uint8Array(piece.buffer.getMappedRange(0, total));
      let first = 0;
      for (const { bytes, consume } of parts) {
        consume(mapped.subarray(first, first + bytes), 0);
        first += paddedBytes(bytes);
      }
    } finally {
      piece.buffer.unmap();
    }
  }

  /** Reads a whole range into one new array. */
  async readBytes(
    from: LedgerBuffer,
    offset = 0,
    bytes = from.bytes - offset,
  ): Promise<Uint8Array<ArrayBuffer>> {
    const result = new Uint8Array(bytes);
    await this.read(from, offset, bytes, (view, position) => result.set(view, position));
    return result;
  }

  [Symbol.dispose](): void {
    for (const piece of this.#pieces) piece[Symbol.dispose]();
  }
}
