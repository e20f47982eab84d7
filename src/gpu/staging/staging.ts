// Reused mapped buffers between the host and the GPU. The first use of a buffer costs several times a later one (shared
// memory is made and touched), so a job makes its rings once.

import { DeviceLostError } from "../../errors.ts";
import type { Gpu } from "../gpu.ts";
import type { LedgerBuffer } from "../memory.ts";
import { UPDATE_BYTES } from "../queue/paced-queue.ts";
import { Pool } from "./pool.ts";

/** What a ring takes of a GPU. */
type RingGpu = Pick<Gpu, "memory" | "queue">;

export interface RingSize {
  readonly pieceBytes: number;
  readonly pieces: number;
}

/** GPU bytes that a ring holds; the planner's figure. */
export function ringBytes(size: RingSize): number {
  return size.pieceBytes * size.pieces;
}

const SMALL_PIECES = 4;
/** Writes of at most this share of a piece do without: as much as a piece holds is copied once more wherever one is used. */
const SHORT_WRITE = 1 / 4;
/** Parts that fill so much of a piece go in it together: each by itself would take new memory, or a piece of its own. */
const GATHERED = 1 / 2;
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

async function makePieces(
  gpu: RingGpu,
  label: string,
  size: RingSize,
  usage: number,
): Promise<LedgerBuffer[]> {
  const request = { label, bytes: size.pieceBytes, usage };
  return await gpu.memory.allocateAll(Array.from({ length: size.pieces }, () => request));
}

/** Maps no more than is read or written: browsers copy what is mapped between their processes, used or not. */
async function map(piece: LedgerBuffer, mode: GPUMapModeFlags, bytes = piece.bytes): Promise<void> {
  try {
    await piece.buffer.mapAsync(mode, 0, bytes);
  } catch (cause) {
    throw new DeviceLostError(`The GPU was lost while ${piece.label} was being mapped.`, { cause });
  }
}

/** Bytes and where they go: `offset` is a multiple of 4. */
export interface WritePart {
  readonly bytes: Uint8Array;
  readonly to: LedgerBuffer;
  readonly offset: number;
}

/** A piece of an upload ring, and when the host may write to it. */
interface UploadPiece {
  readonly buffer: LedgerBuffer;
  mapped: Promise<void> | null;
}

/** Host to GPU. */
export class UploadRing implements Disposable {
  readonly #gpu: RingGpu;
  readonly #pieces: readonly LedgerBuffer[];
  readonly #pool: Pool<UploadPiece>;
  readonly #pieceBytes: number;

  private constructor(gpu: RingGpu, pieces: readonly LedgerBuffer[], pieceBytes: number) {
    this.#gpu = gpu;
    this.#pieces = pieces;
    this.#pool = new Pool(pieces.map((buffer): UploadPiece => ({ buffer, mapped: null })));
    this.#pieceBytes = pieceBytes;
  }

  static async create(gpu: RingGpu, size: RingSize): Promise<UploadRing> {
    const usage = GPUBufferUsage.MAP_WRITE | GPUBufferUsage.COPY_SRC;
    return new UploadRing(gpu, await makePieces(gpu, "upload ring", size, usage), size.pieceBytes);
  }

  /**
   * Copies `bytes` into `to` at `offset` (a multiple of 4), in order with the dispatches that are recorded. Resolves
   * when the bytes have left the host's array; the tail is padded with zeros to a multiple of 4. Few bytes take no piece, which
   * would have to come back from the GPU: they go along with the next submit, or more of them behind this one.
   */
  async write(bytes: Uint8Array, to: LedgerBuffer, offset = 0): Promise<void> {
    if (bytes.byteLength <= UPDATE_BYTES) {
      await this.#gpu.queue.update(bytes, to, offset);
      return;
    }
    if (bytes.byteLength <= this.#pieceBytes * SHORT_WRITE && bytes.byteLength % 4 === 0) {
      await this.#gpu.queue.write(bytes, to, offset);
      return;
    }
    await this.fill(
      bytes.byteLength,
      (view, position) => view.set(bytes.subarray(position, position + view.byteLength)),
      async (of, position, length) =>
        await this.#gpu.queue.copy({ of, offset: 0 }, { of: to, offset: offset + position }, length),
    );
  }

  /**
   * The same, ahead of what is recorded after the call: until it resolves nothing else may use `to`. It waits for pieces alone, and not
   * for what the GPU is given meanwhile.
   */
  async writeAhead(bytes: Uint8Array, to: LedgerBuffer): Promise<void> {
    if (bytes.byteLength <= this.#pieceBytes * SHORT_WRITE) return await this.write(bytes, to);
    this.#gpu.queue.submit();
    for (let done = 0; done < bytes.byteLength; done += this.#pieceBytes) {
      const part = bytes.subarray(done, done + this.#pieceBytes);
      await this.#withPiece(
        part.byteLength,
        (view) => view.set(part),
        (of, padded) => this.#gpu.queue.copyAhead({ of, offset: 0 }, { of: to, offset: done }, padded),
      );
    }
  }

  /** Writes parts as `write` does one: as many as a piece holds go to the GPU in it together. */
  async writeAll(parts: Iterable<WritePart>): Promise<void> {
    let gathered: WritePart[] = [];
    let bytes = 0;
    for (const part of parts) {
      const own = paddedBytes(part.bytes.byteLength);
      if (bytes + own > this.#pieceBytes) {
        await this.#writeGathered(gathered, bytes);
        [gathered, bytes] = [[], 0];
      }
      gathered.push(part);
      bytes += own;
    }
    await this.#writeGathered(gathered, bytes);
  }

  async #writeGathered(parts: readonly WritePart[], total: number): Promise<void> {
    if (parts.length <= 1 || total < this.#pieceBytes * GATHERED) {
      for (const { bytes, to, offset } of parts) await this.write(bytes, to, offset);
      return;
    }
    let end = 0;
    const placed = parts.map((part) => ({ ...part, at: (end += paddedBytes(part.bytes.byteLength)) }));
    const startOf = ({ at, bytes }: (typeof placed)[number]) => at - paddedBytes(bytes.byteLength);
    const put = (view: Uint8Array<ArrayBuffer>) => {
      for (const part of placed) {
        view.set(part.bytes, startOf(part));
        view.fill(0, startOf(part) + part.bytes.byteLength, part.at);
      }
    };
    await this.fill(total, put, async (of) => {
      for (const part of placed) {
        const from = { of, offset: startOf(part) };
        await this.#gpu.queue.copy(from, { of: part.to, offset: part.offset }, part.at - from.offset);
      }
    });
  }

  /**
   * Takes bytes that `make` puts into mapped memory, piece by piece: it gets each with its position among them, must write all of it, and
   * keeps none of it. `use` records what becomes of a piece, with its position and its bytes up to a multiple of 4.
   */
  async fill(
    bytes: number,
    make: (view: Uint8Array<ArrayBuffer>, position: number) => void,
    use: (piece: LedgerBuffer, position: number, bytes: number) => Promise<void>,
  ): Promise<void> {
    for (let done = 0; done < bytes; done += this.#pieceBytes) {
      const length = Math.min(this.#pieceBytes, bytes - done);
      await this.#withPiece(
        length,
        (view) => make(view, done),
        async (of, padded) => {
          await use(of, done, padded);
          await this.#gpu.queue.flush();
        },
      );
    }
  }

  /** Lends a piece until the commands that use it are submitted. */
  async #withPiece(
    length: number,
    make: (view: Uint8Array<ArrayBuffer>) => void,
    submit: (piece: LedgerBuffer, padded: number) => Promise<void> | void,
  ): Promise<void> {
    const padded = paddedBytes(length);
    const piece = await this.#pool.acquire();
    try {
      await (piece.mapped ?? map(piece.buffer, GPUMapMode.WRITE));
      const { buffer } = piece.buffer;
      const view = new Uint8Array(buffer.getMappedRange(0, padded));
      make(view.subarray(0, length));
      view.fill(0, length);
      buffer.unmap();
      await submit(piece.buffer, padded);
      // Asked for before it is wanted: the pieces of a ring then wait for the GPU side by side.
      piece.mapped = map(piece.buffer, GPUMapMode.WRITE);
      piece.mapped.catch(() => undefined);
    } finally {
      this.#pool.release(piece);
    }
  }

  [Symbol.dispose](): void {
    for (const piece of this.#pieces) piece[Symbol.dispose]();
  }
}

/** What is read of a buffer: `offset` is a multiple of 4. */
export interface ReadPart {
  readonly from: LedgerBuffer;
  readonly offset: number;
  readonly bytes: number;
  /** Gets mapped memory piece by piece, valid only during the call, with its position in the range. */
  readonly consume: (view: Uint8Array<ArrayBuffer>, position: number) => void;
}

function paddedBytes(bytes: number): number {
  return Math.ceil(bytes / 4) * 4;
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

  private constructor(
    gpu: RingGpu,
    large: readonly LedgerBuffer[],
    small: readonly LedgerBuffer[],
    size: RingSize,
  ) {
    this.#gpu = gpu;
    this.#pieces = [...large, ...small];
    this.#large = { pool: new Pool(large), bytes: size.pieceBytes };
    this.#small = { pool: new Pool(small), bytes: smallPieces(size).pieceBytes };
  }

  static async create(gpu: RingGpu, size: RingSize): Promise<ReadbackRing> {
    const usage = GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST;
    const large = await makePieces(gpu, "readback ring", size, usage);
    const small = await makePieces(gpu, "small readbacks", smallPieces(size), usage);
    return new ReadbackRing(gpu, large, small, size);
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
    const reads = await Promise.all(begun);
    copied();
    await Promise.all(reads.map(async ({ done }) => await done));
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
      await Promise.all(reads);
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
    await map(piece, GPUMapMode.READ, total);
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
