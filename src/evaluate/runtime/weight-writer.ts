// Weights on their way to the GPU: gathered in mapped pieces that are used again, which take a third of the time of as many writes
// by the queue; bfloat16 is widened there.

import { openTogether } from "../../disposal.ts";
import { widenBf16 } from "../../gpu/elements/widen.ts";
import { bufferBytes, type GpuMemory, type LedgerBuffer } from "../../gpu/memory.ts";
import { PacedQueue, QUEUE_BYTES } from "../../gpu/queue/paced-queue.ts";
import { ringBytes } from "../../gpu/staging/ring-pieces.ts";
import { UploadRing, type WritePart } from "../../gpu/staging/upload-ring.ts";
import { type PlacedValues, widenHalves } from "../weights/weight-values.ts";

/** Pieces that are gathered in, and one more for halves. */
const RING = { pieceBytes: 6 * 1024 ** 2, pieces: 4 };

export interface WeightWriter {
  /** @param offset where values begin in the buffer, in bytes: a multiple of 4, of 256 for bfloat16 */
  write(data: PlacedValues, to: LedgerBuffer, offset: number): Promise<void>;
  /** Resolves when all that was written is given to the GPU, and gives back what writing took. */
  settle(): Promise<void>;
}

/** A writer for so many bytes; for few, or where the budget has no room for pieces, by the queue alone. */
export async function openWeightWriter(
  device: GPUDevice,
  memory: GpuMemory,
  bytes: number,
  size = RING,
): Promise<WeightWriter> {
  const own = ringBytes(size) + bufferBytes(size.pieceBytes) + QUEUE_BYTES;
  if (bytes < own || memory.freeBytes < own) return writerByQueue(device);
  return await writerByPieces(device, memory, size);
}

function writerByQueue(device: GPUDevice): WeightWriter {
  return {
    async write(data, to, offset) {
      const values = data instanceof Uint16Array ? widenHalves(data) : data;
      device.queue.writeBuffer(to.buffer, offset, wholeWords(values));
      await Promise.resolve();
    },
    settle: async () => await Promise.resolve(),
  };
}

async function writerByPieces(
  device: GPUDevice,
  memory: GpuMemory,
  size: typeof RING,
): Promise<WeightWriter> {
  const pieces = await openPieces(device, memory, size);
  let gathered: WritePart[] = [];
  let bytes = 0;
  const flush = async () => {
    const parts = gathered;
    [gathered, bytes] = [[], 0];
    await pieces.ring.writeAll(parts);
  };
  return {
    async write(data, to, offset) {
      if (data instanceof Uint16Array) {
        await widen(pieces, data, { of: to, offset });
        return;
      }
      const own = bufferBytes(data.byteLength);
      if (bytes + own > size.pieceBytes) await flush();
      gathered.push({ bytes: bytesOf(data), to, offset });
      bytes += own;
    },
    async settle() {
      try {
        await flush();
        await pieces.queue.flush();
      } finally {
        pieces[Symbol.dispose]();
      }
    },
  };
}

async function openPieces(device: GPUDevice, memory: GpuMemory, size: typeof RING) {
  return await openTogether(async (parts) => {
    const queue = parts.use(await PacedQueue.create(device, memory));
    const ring = parts.use(await UploadRing.create({ memory, queue }, size));
    const request = { label: "bfloat16 weights", bytes: size.pieceBytes };
    return { queue, ring, words: parts.use(await memory.allocate(request)) };
  });
}

interface Pieces {
  readonly queue: PacedQueue;
  readonly ring: UploadRing;
  readonly words: LedgerBuffer;
}

async function widen(
  { queue, ring, words }: Pieces,
  halves: Uint16Array<ArrayBuffer>,
  to: { readonly of: LedgerBuffer; readonly offset: number },
): Promise<void> {
  const all = bytesOf(halves);
  for (let first = 0; first < all.byteLength; first += words.bytes) {
    const piece = all.subarray(first, first + words.bytes);
    await ring.write(piece, words);
    const values = { of: to.of, offset: to.offset + first * 2, bytes: piece.byteLength * 2 };
    await widenBf16({ queue }, words, values, piece.byteLength / 2);
  }
}

function bytesOf(data: ArrayBufferView<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

/** Writes are multiples of 4 bytes. */
function wholeWords(data: ArrayBufferView<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const bytes = bytesOf(data);
  if (bytes.byteLength % 4 === 0) return bytes;
  const padded = new Uint8Array(Math.ceil(bytes.byteLength / 4) * 4);
  padded.set(bytes);
  return padded;
}
