import { mkdtemp, readdir, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { openSpareFiles } from "./spare-files.ts";

const BYTES = 100_000;

it("writes over files that nobody reads any more, the one that fits best, and leaves none", async () => {
  const folder = await mkdtemp(join(tmpdir(), "spare-"));
  const at = (name: string) => join(folder, name);
  await writeFile(at("spare-1-7"), "of an earlier run");
  {
    await using spare = await openSpareFiles(folder, "spare-1-");
    expect(await readdir(folder)).toEqual([]);
    const inodes = new Map<number, number>();
    for (const bytes of [BYTES + 2, BYTES, 3]) {
      await writeFile(at("sum"), new Uint8Array(bytes).fill(1));
      if (bytes >= BYTES) inodes.set((await stat(at("sum"))).ino, bytes);
      await spare.keep(at("sum"));
    }
    await spare.keep(at("sum"));
    const opened = async (name: string, bytes: number) => {
      await using file = await spare.open(at(name), bytes);
      const { ino, size } = await file.stat();
      return [size, inodes.get(ino)];
    };
    expect(await opened("one", BYTES - 1)).toEqual([BYTES - 1, BYTES]);
    expect(await opened("two", BYTES + 5)).toEqual([BYTES + 5, BYTES + 2]);
    expect(await opened("three", BYTES)).toEqual([0, undefined]);
    await spare.keep(at("two"));
  }
  expect((await readdir(folder)).toSorted()).toEqual(["one", "three"]);
});
