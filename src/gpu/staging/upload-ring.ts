import type { LedgerBuffer } from "../memory.ts";
import { UPDATE_BYTES } from "../queue/paced-queue.ts";
import { Pool } from "./pool.ts";
import { yieldToMessages } from "../../yield-to-messages.ts";
import { mapPiece, paddedBytes, ringPieces, type RingGpu, type RingSize } from "./ring-pieces.ts";

/** Writes of at most this share of a piece do without: as much as a piece holds is copied once more wherever one is used. */
const SHORT_WRITE = 1 / 4;
/** Parts that fill so much of a piece go in it together: each by itself would take new memory, or a piece of its own. */
const GATHERED = 1 / 2;

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
    const pieces = ringPieces("upload ring", size, usage);
    return new UploadRing(gpu, await gpu.memory.allocateAll(pieces), size.pieceBytes);
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
   * for what the GPU is given meanwhile, which goes on between two of them: bytes of a whole batch are copied for longer than what the GPU
   * has in flight.
   */
  async writeAhead(bytes: Uint8Array, to: LedgerBuffer): Promise<void> {
    if (bytes.byteLength <= this.#pieceBytes * SHORT_WRITE) return await this.write(bytes, to);
    this.#gpu.queue.submit();
    for (let done = 0; done < bytes.byteLength; done += this.#pieceBytes) {
      if (done > 0) await yieldToMessages();
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
      await (piece.mapped ?? mapPiece(piece.buffer, GPUMapMode.WRITE));
      // Whatever fails here, whoever takes it next maps it anew.
      piece.mapped = null;
      const { buffer } = piece.buffer;
      try {
        const view = new Uint8Array(buffer.getMappedRange(0, padded));
        make(view.subarray(0, length));
        view.fill(0, length);
      } finally {
        buffer.unmap();
      }
      await submit(piece.buffer, padded);
      // Asked for before it is wanted: the pieces of a ring then wait for the GPU side by side.
      piece.mapped = mapPiece(piece.buffer, GPUMapMode.WRITE);
      piece.mapped.catch(() => undefined);
    } finally {
      this.#pool.release(piece);
    }
  }

  [Symbol.dispose](): void {
    for (const piece of this.#pieces) piece[Symbol.dispose]();
  }
}
