// Pieces of sums on their way between this job's GPU and the other jobs. Bytes are copied by the page's thread once each way: from mapped
// memory to where the other end finds them, and back. The GPU cuts and adds.

import pLimit from "p-limit";
import { allEnded } from "../../../all-ended.ts";
import type { PlacedSum } from "../../../calibrate/chunk-tree.ts";
import type { HessianSum } from "../../../calibrate/hessian-tree.ts";
import { invariant } from "../../../errors.ts";
import type { LedgerBuffer } from "../../../gpu/memory.ts";
import { Pool } from "../../../gpu/staging/pool.ts";
import {
  addPiece,
  sentBytes,
  type TrianglePiece,
  trimPiece,
} from "../../../gpu/triangular/triangle-pieces.ts";
import type { TriangularMatrix } from "../../../gpu/triangular/triangular-matrix.ts";
import type { JointWork } from "../../../joint-work.ts";
import type { Capture } from "../../../model/layer-linears.ts";
import type { LayerAtWork } from "../layer-at-work.ts";
import type { ShareAtWork } from "../services.ts";
import type { ShareNames } from "./share-names.ts";
import { waitLater } from "../../../wait-later.ts";

/**
 * Pieces that go at a time: some are read back or written while others are on their way. A browser has six connections to a server, where
 * what comes waits, too; what finds none waits for it.
 */
const GIVEN_AT_ONCE = 8;

export interface SumsAtWork {
  readonly work: LayerAtWork;
  readonly share: ShareAtWork;
  readonly names: ShareNames;
}

export interface SumPieces {
  /** Begins to give a piece of a sum that stays as it is until all are given. */
  give(capture: Capture, sum: HessianSum, piece: TrianglePiece): void;
  /** Adds a piece of a sum that another job gives. */
  add(capture: Capture, sum: PlacedSum, piece: TrianglePiece, to: TriangularMatrix): Promise<void>;
  /** Resolves when all is given. @throws what failed first, once no piece is at work */
  given(): Promise<void>;
}

/**
 * @param rows a buffer for a piece of any of the sums, which one of them has at a time
 * @param joint what giving a piece is a part of
 */
export function createSumPieces(sums: SumsAtWork, rows: LedgerBuffer, joint: JointWork): SumPieces {
  const { work, share, names } = sums;
  const limit = pLimit(GIVEN_AT_ONCE);
  const free = new Pool([rows]);
  const giving: Promise<void>[] = [];
  const nameOf = (capture: Capture, sum: HessianSum | PlacedSum, { index }: TrianglePiece) =>
    names.piece(work.layer.captures.indexOf(capture), { first: sum.first, end: sum.end }, index);
  return {
    give(capture, sum, piece) {
      const file = { name: nameOf(capture, sum, piece), bytes: sentBytes(piece) };
      const give = async () =>
        await share.exchange.putShort(
          file,
          async (write) => await readPiece(sums, free, [sum.matrix, piece], write),
        );
      giving.push(waitLater(limit(async () => await joint.part(give))));
    },
    async add(capture, sum, piece, to) {
      const file = { name: nameOf(capture, sum, piece), bytes: sentBytes(piece) };
      // Others lack for what is waited for what could not be given.
      const check = () => joint.check();
      const wanted = { from: sum.place, what: `its Hessians of ${work.step.name}`, check };
      await share.exchange.takeShort(
        file,
        wanted,
        async (read) => await fillPiece(sums, free, [to, piece], read),
      );
    },
    given: async () => void (await allEnded(giving)),
  };
}

type HeldPiece = readonly [TriangularMatrix, TrianglePiece];

function panelOf([{ buffers }, { panel }]: HeldPiece): LedgerBuffer {
  const buffer = buffers[panel];
  invariant(buffer, "a buffer for each panel");
  return buffer;
}

/** Writes what goes of a piece, part by part. */
async function readPiece(
  { work }: SumsAtWork,
  free: Pool<LedgerBuffer>,
  held: HeldPiece,
  write: (part: Uint8Array<ArrayBuffer>, at: number) => void,
): Promise<void> {
  const { gpu, readbacks } = work.services;
  const [, piece] = held;
  const rows = await free.acquire();
  const begin = async () => {
    await trimPiece(gpu, piece, panelOf(held), rows);
    return await readbacks.startParts([{ from: rows, offset: 0, bytes: sentBytes(piece), consume: write }]);
  };
  // The next one may be put there once this one is on its way.
  const { done } = await begin().finally(() => free.release(rows));
  await done;
}

/** Adds what came of a piece, part by part. */
async function fillPiece(
  { work }: SumsAtWork,
  free: Pool<LedgerBuffer>,
  held: HeldPiece,
  read: (to: Uint8Array<ArrayBuffer>, at: number) => void,
): Promise<void> {
  const { gpu, uploads } = work.services;
  const [, piece] = held;
  await uploads.fill(sentBytes(piece), read, async (of, position, bytes) => {
    const rows = await free.acquire();
    try {
      await gpu.queue.copy({ of, offset: 0 }, { of: rows, offset: 0 }, bytes);
      await addPiece(gpu, piece, { rows, position, bytes }, panelOf(held));
    } finally {
      free.release(rows);
    }
  });
}
