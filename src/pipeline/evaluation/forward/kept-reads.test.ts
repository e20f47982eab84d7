import { describe, expect, it } from "vitest";
import type { StoredModel } from "../../../evaluate/weights/stored-model.ts";
import { keepReads } from "./kept-reads.ts";

const WEIGHT = Uint8Array.from({ length: 64 }, (_, index) => index);

function model() {
  const reads: string[] = [];
  const stored = {
    tensor: (name: string) => ({ name, dtype: "BF16", shape: [8, 4] }),
    async read(name: string, span?: { readonly start: number; readonly end: number }) {
      reads.push(`${name} ${span?.start ?? 0}..${span?.end ?? 64}`);
      return await Promise.resolve(WEIGHT.slice(span?.start, span?.end));
    },
  } as unknown as StoredModel;
  return { stored, reads };
}

describe("keepReads", () => {
  it("gives what was kept in pieces, whole or in part, and reads it no more", async () => {
    const { stored, reads } = model();
    const kept = keepReads(stored);
    kept.keep(64);
    await kept.model.read("a", { start: 0, end: 40 });
    await kept.model.read("a", { start: 40, end: 64 });
    const over = kept.over(stored);
    expect(await over.read("a")).toEqual(WEIGHT);
    expect(await over.read("a", { start: 30, end: 50 })).toEqual(WEIGHT.slice(30, 50));
    expect(reads).toEqual(["a 0..40", "a 40..64"]);
  });

  it("reads what was not kept, or not all of it", async () => {
    const { stored, reads } = model();
    const kept = keepReads(stored);
    await kept.model.read("before");
    kept.keep(40);
    await kept.model.read("a", { start: 0, end: 40 });
    await kept.model.read("a", { start: 40, end: 64 });
    const over = kept.over(stored);
    reads.length = 0;
    for (const name of ["before", "a"]) expect(await over.read(name)).toEqual(WEIGHT);
    expect(reads).toEqual(["before 0..64", "a 0..64"]);
    expect(await over.read("a", { start: 4, end: 40 })).toEqual(WEIGHT.slice(4, 40));
    expect(reads).toHaveLength(2);
  });
});
