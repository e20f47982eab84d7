// Several sequences of different lengths laid end to end: a row is a token, there is no padding anywhere. Positions
// restart with each sequence, and no token sees another sequence.

import { type Lifetime, openTogether } from "../../disposal.ts";
import { CalibrationError } from "../../errors.ts";
import { greatestOf } from "../../greatest-of.ts";
import type { Gpu } from "../../gpu/gpu.ts";
import { bufferBytes, type LedgerBuffer } from "../../gpu/memory.ts";
import type { UploadRing } from "../../gpu/staging/upload-ring.ts";
import { type AttentionTile, attentionTiles } from "./mixers/attention/attention-tile.ts";

export interface TokenBatch extends Disposable {
  /** Tokens of each sequence, in order. */
  readonly lengths: readonly number[];
  /** Rows of the batch. */
  readonly tokens: number;
  readonly longest: number;
  readonly tiles: readonly AttentionTile[];
  /** Two u32 a token: its position, and the length of its sequence. */
  readonly positions: LedgerBuffer;
  /** Four u32 a tile: its fields, and a zero. */
  readonly attentionTiles: LedgerBuffer;
  /** Two u32 a sequence: its first row, and the row after its last. */
  readonly sequences: LedgerBuffer;
  /** One u32 a token: its row in the table of token inputs; null where no layer is given any. */
  readonly tokenRows: LedgerBuffer | null;
}

/** GPU bytes that a batch of these sequences keeps, rows of token inputs left out. */
export function batchBytes(lengths: readonly number[]): number {
  const tokens = lengths.reduce((sum, length) => sum + length, 0);
  return (
    bufferBytes(tokens * 8) +
    bufferBytes(attentionTiles(lengths).length * 16) +
    bufferBytes(lengths.length * 8)
  );
}

/** @throws CalibrationError if a sequence is empty, or there is none. */
export async function createBatch(
  gpu: Gpu,
  uploads: UploadRing,
  lengths: readonly number[],
  tokenRows: Uint32Array<ArrayBuffer> | null = null,
): Promise<TokenBatch> {
  if (lengths.length === 0 || lengths.some((length) => !Number.isInteger(length) || length < 1)) {
    throw new CalibrationError("A calibration batch needs sequences of at least one token.");
  }
  const tiles = attentionTiles(lengths);
  const rows = lengths.flatMap((length) => Array.from({ length }, (_, position) => [position, length]));
  const positionBytes = new Uint32Array(rows.flat());
  const tileBytes = new Uint32Array(
    tiles.flatMap(({ firstRow, endRow, sequenceStart }) => [firstRow, endRow, sequenceStart, 0]),
  );
  const sequenceBytes = new Uint32Array(sequenceRows(lengths));
  return await openTogether(async (parts) => {
    const [positions, tileBuffer, sequences] = parts.useEach(
      await gpu.memory.allocateAll([
        { label: "token positions", bytes: positionBytes.byteLength },
        { label: "attention tiles", bytes: tileBytes.byteLength },
        { label: "sequences", bytes: sequenceBytes.byteLength },
      ]),
    );
    await uploads.write(new Uint8Array(positionBytes.buffer), positions);
    await uploads.write(new Uint8Array(tileBytes.buffer), tileBuffer);
    await uploads.write(new Uint8Array(sequenceBytes.buffer), sequences);
    const given = tokenRows && (await uploadRows(gpu, uploads, tokenRows, parts));
    const longest = greatestOf(lengths);
    const tables = { positions, attentionTiles: tileBuffer, sequences, tokenRows: given };
    return { lengths, tokens: rows.length, longest, tiles, ...tables };
  });
}

async function uploadRows(
  gpu: Gpu,
  uploads: UploadRing,
  tokenRows: Uint32Array<ArrayBuffer>,
  parts: Lifetime,
): Promise<LedgerBuffer> {
  const request = { label: "rows of token inputs", bytes: tokenRows.byteLength };
  const given = parts.use(await gpu.memory.allocate(request));
  await uploads.write(new Uint8Array(tokenRows.buffer), given);
  return given;
}

/** First and end row of each sequence. */
function sequenceRows(lengths: readonly number[]): number[] {
  let row = 0;
  return lengths.flatMap((length) => [row, (row += length)]);
}
