// Reused mapped buffers between the host and the GPU. The first use of a buffer costs several times a later one (shared
// memory is made and touched), so a job makes its rings once.

import { lostWhile } from "../../errors.ts";
import type { Gpu } from "../gpu.ts";
import type { BufferRequest, LedgerBuffer } from "../memory.ts";

/** What a ring takes of a GPU. */
export type RingGpu = Pick<Gpu, "memory" | "queue">;

export interface RingSize {
  readonly pieceBytes: number;
  readonly pieces: number;
}

/** GPU bytes that a ring holds; the planner's figure. */
export function ringBytes(size: RingSize): number {
  return size.pieceBytes * size.pieces;
}

/** Buffers of a ring, to be allocated together. */
export function ringPieces(label: string, size: RingSize, usage: number): BufferRequest[] {
  const request = { label, bytes: size.pieceBytes, usage };
  return Array.from({ length: size.pieces }, () => request);
}

/** Maps no more than is read or written: browsers copy what is mapped between their processes, used or not. */
export async function mapPiece(
  piece: LedgerBuffer,
  mode: GPUMapModeFlags,
  bytes = piece.bytes,
): Promise<void> {
  try {
    await piece.buffer.mapAsync(mode, 0, bytes);
  } catch (cause) {
    throw lostWhile(`${piece.label} was being mapped`, cause);
  }
}

/** Copies are of multiples of 4 bytes. */
export function paddedBytes(bytes: number): number {
  return Math.ceil(bytes / 4) * 4;
}
