import { beforeAll, expect, it } from "vitest";
import type { HessianSum } from "../../../calibrate/hessian-tree.ts";
import type { LedgerBuffer } from "../../../gpu/memory.ts";
import type { TrianglePiece } from "../../../gpu/triangular/triangle-pieces.ts";
import { createJointWork } from "../../../joint-work.ts";
import type { Capture } from "../../../model/layer-linears.ts";
import { provideBrowserGlobals } from "../../../testing/stand-ins/browser-globals.ts";
import { createSumPieces, type SumsAtWork } from "./sum-pieces.ts";

beforeAll(provideBrowserGlobals);

const CAPTURE = { modules: ["down"], columns: 4 } as unknown as Capture;
const SUM = { first: 0, end: 1 } as unknown as HessianSum;

/** Sums whose pieces go where `give` says, and whose pieces of others are asked for once. */
function sumsThat(give: (piece: string) => Promise<void>): SumsAtWork {
  const exchange = {
    putShort: async ({ name }: { name: string }) => await give(name),
    takeShort: async (_: unknown, { check }: { check: () => void }) => await Promise.resolve(check()),
  };
  return {
    work: { layer: { captures: [CAPTURE] }, step: { name: "layer 0" } },
    share: { exchange },
    names: { piece: (_: number, __: unknown, index: number) => `piece ${index}` },
  } as unknown as SumsAtWork;
}

const piece = (index: number) => ({ index, panel: 0, rows: 1, columns: 4 }) as unknown as TrianglePiece;

it("gives no piece behind a failure, waits for those that are at work, and tells what failed first", async () => {
  const begun: string[] = [];
  const gate = Promise.withResolvers<void>();
  const sums = sumsThat(async (name) => {
    begun.push(name);
    if (name === "piece 1") throw new Error("The cause.");
    await gate.promise;
    if (name === "piece 0") throw new Error("A consequence.");
  });
  const joint = createJointWork();
  const pieces = createSumPieces(sums, {} as LedgerBuffer, joint);
  for (let index = 0; index < 12; index++) pieces.give(CAPTURE, SUM, piece(index));
  let isTold = false;
  const given = pieces.given().finally(() => {
    isTold = true;
  });
  await joint.unlessFailed(gate.promise).catch(() => undefined);
  const add = pieces.add(CAPTURE, { ...SUM, place: 1, halves: null }, piece(0), { ...SUM.matrix });
  await expect(add).rejects.toThrow("The cause.");
  expect(isTold).toBe(false);
  gate.resolve();
  await expect(given).rejects.toThrow("The cause.");
  expect(begun).toEqual(Array.from({ length: 8 }, (_, index) => `piece ${index}`));
});
