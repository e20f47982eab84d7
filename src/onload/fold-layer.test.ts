import { setImmediate as nextTurn } from "node:timers/promises";
import { expect, it } from "vitest";
import type { Fold } from "../formats/weights/fold.ts";
import { waitLater } from "../wait-later.ts";
import { foldLayer, type FoldPiece } from "./fold-layer.ts";
import { memoryLayer } from "./host-layer.ts";

const foldOf = (tensor: string): Fold => ({
  tensor,
  axis: "columns",
  factors: Float32Array.of(2, 2),
  divides: false,
  offset: 0,
});

it("writes nothing any more when it tells that a piece could not be folded, and begins no other", async () => {
  const names = Array.from({ length: 40 }, (_, index) => `tensor ${index}`);
  const bytes = () => new Uint8Array(Float32Array.of(1, 1).buffer);
  const host = memoryLayer(names.map((name) => [name, { dtype: "F32", columns: 2, bytes: bytes() }]));
  let go = () => {};
  const gate = new Promise<void>((resolve) => (go = resolve));
  const begun: string[] = [];
  const written: string[] = [];
  const fold: FoldPiece = async ({ folds }, copy) => {
    const [{ tensor } = foldOf("")] = folds;
    begun.push(tensor);
    if (tensor === "tensor 0") throw new Error("The thread is gone.");
    await gate;
    written.push(tensor);
    return copy();
  };
  const layer = foldLayer(host, { fold, checkpoint: async () => await Promise.resolve() });
  const told = waitLater(layer.add(names.map(foldOf), true).finally(() => written.push("told")));
  await nextTurn();
  expect(written).toEqual([]);
  go();
  await expect(told).rejects.toThrow("The thread is gone.");
  expect(written).toEqual([...begun.slice(1), "told"]);
  expect(begun.length).toBeLessThan(names.length);
});
