import { mkdtemp, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { makeFolders } from "./make-folders.ts";

it("makes what is missing and gives the first of it", async () => {
  const root = await mkdtemp(join(tmpdir(), "folders-"));
  expect(await makeFolders(join(root, "a/b/c"))).toBe(join(root, "a"));
  expect((await stat(join(root, "a/b/c"))).isDirectory()).toBe(true);
  expect(await makeFolders(join(root, "a/b/d"))).toBe(join(root, "a/b/d"));
  expect(await makeFolders(join(root, "a/b"))).toBeUndefined();
});

it("comes to an end with the system's error where no folder can be made", async () => {
  const root = await mkdtemp(join(tmpdir(), "folders-"));
  await writeFile(join(root, "file"), "");
  await expect(makeFolders(join(root, "file"))).rejects.toMatchObject({ code: "EEXIST" });
  await expect(makeFolders(join(root, "file/inside"))).rejects.toMatchObject({ code: "ENOTDIR" });
  await expect(makeFolders("/proc/none/out")).rejects.toMatchObject({ code: "ENOENT" });
});
