import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readFile, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeEach, expect, it } from "vitest";
import { takeStored } from "./take-stored.ts";

let profile: string;
let folder: string;
beforeEach(async () => {
  [profile, folder] = [await mkdtemp(join(tmpdir(), "profile-")), await mkdtemp(join(tmpdir(), "saved-"))];
  await mkdir(join(profile, "File System/000/t/00"), { recursive: true });
});

async function store(name: string, content: string): Promise<void> {
  await writeFile(join(profile, "File System/000/t/00", name), content, { mode: 0o600 });
}

it("puts what is alone of its size into the folder, hashed, with the rights of a new file, over what was there", async () => {
  await store("00000001", "0123456789");
  await mkdir(join(folder, "result"));
  await writeFile(join(folder, "result/model.safetensors"), "before");
  const files = [
    { path: "result/model.safetensors", bytes: 10 },
    { path: "config.json", bytes: 4 },
  ];
  const taken = await takeStored(profile, files, folder, 10);
  expect([...taken]).toEqual([
    ["result/model.safetensors", createHash("sha256").update("0123456789").digest("hex")],
  ]);
  const target = join(folder, "result/model.safetensors");
  expect(await readFile(target, "utf8")).toBe("0123456789");
  await writeFile(join(folder, "new"), "");
  expect((await stat(target)).mode).toBe((await stat(join(folder, "new"))).mode);
});

it("leaves to the page what is small, not there, or one of several of its size", async () => {
  await store("00000001", "0123456789");
  await store("00000002", "9876543210");
  await store("00000003", "0123456789a");
  const files = [
    { path: "a", bytes: 10 },
    { path: "b", bytes: 11 },
    { path: "c", bytes: 11 },
    { path: "d", bytes: 12 },
    { path: "e", bytes: 4 },
  ];
  expect([...(await takeStored(profile, files, folder, 10))]).toEqual([]);
});
