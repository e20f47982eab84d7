import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeEach, expect, it } from "vitest";
import { type SampleOfPage, takeStored } from "./take-stored.ts";

let profile: string;
let folder: string;
beforeEach(async () => {
  [profile, folder] = [await mkdtemp(join(tmpdir(), "profile-")), await mkdtemp(join(tmpdir(), "saved-"))];
  await mkdir(join(profile, "File System/000/t/00"), { recursive: true });
});

async function store(name: string, content: string): Promise<void> {
  await writeFile(join(profile, "File System/000/t/00", name), content, { mode: 0o600 });
}

/** A page that has so much of every file. */
function pageWith(content: string): SampleOfPage {
  return async (_, { starts, pieceBytes }) => {
    const pieces = starts.map((start) => content.slice(start, start + pieceBytes));
    return await Promise.resolve(createHash("sha256").update(pieces.join("")).digest("hex"));
  };
}

it("puts what is alone of its size into the folder, hashed, with the rights of a new file, over what was there", async () => {
  await store("00000001", "0123456789");
  await mkdir(join(folder, "result"));
  await writeFile(join(folder, "result/model.safetensors"), "before");
  const files = [
    { path: "result/model.safetensors", bytes: 10 },
    { path: "config.json", bytes: 4 },
  ];
  const taken = await takeStored(profile, files, folder, pageWith("0123456789"), 10);
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
  expect([...(await takeStored(profile, files, folder, pageWith("0123456789"), 10))]).toEqual([]);
});

it("leaves to the page what is alone of its size, but has other bytes or cannot be read by the page", async () => {
  const own = "0123456789".repeat(100_000);
  const files = [{ path: "model.safetensors", bytes: own.length }];
  // One of 1,024 parts differs: an earlier job's scales, say.
  const other = own.slice(0, 5000) + "x".repeat(1024) + own.slice(6024);
  await store("00000001", other);
  expect([...(await takeStored(profile, files, folder, pageWith(own), 10))]).toEqual([]);
  expect([
    ...(await takeStored(profile, files, folder, async () => await Promise.resolve(null), 10)),
  ]).toEqual([]);
  expect(await readdir(folder)).toEqual([]);
  expect([...(await takeStored(profile, files, folder, pageWith(other), 10)).keys()]).toEqual([
    "model.safetensors",
  ]);
});
