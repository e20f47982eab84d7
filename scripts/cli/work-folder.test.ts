import { existsSync } from "node:fs";
import { mkdtemp, readdir, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { openWorkFolder } from "./work-folder.ts";

const newFolder = async () => await mkdtemp(join(tmpdir(), "work-folder-"));

it("is taken by one command at a time, and told in one sentence", async () => {
  const out = await newFolder();
  const attempts = await Promise.allSettled([openWorkFolder(out), openWorkFolder(out), openWorkFolder(out)]);
  const taken = attempts.flatMap((attempt) => (attempt.status === "fulfilled" ? [attempt.value] : []));
  expect(taken).toHaveLength(1);
  for (const attempt of attempts.filter(({ status }) => status === "rejected"))
    expect(attempt).toMatchObject({ reason: { name: "BusyError", message: expect.stringContaining(out) } });
  await taken[0]?.[Symbol.asyncDispose]();
  await using again = await openWorkFolder(out);
  expect(again.continued).toBe(false);
});

it("is taken over from a process that has ended, with what it left", async () => {
  const out = await newFolder();
  const { path } = await openWorkFolder(out);
  await writeFile(join(path, "lock"), JSON.stringify({ host: "", pid: 0 }));
  await expect(openWorkFolder(out)).rejects.toThrow(/A command on .* delete /);
  // A process of this machine with the number of a living one, but begun at another time.
  const { hostname } = await import("node:os");
  await writeFile(join(path, "lock"), JSON.stringify({ host: hostname(), pid: process.pid, began: "1" }));
  await writeFile(join(path, "kept"), "");
  await using taken = await openWorkFolder(out);
  expect(taken.continued).toBe(true);
  expect((await readdir(path)).toSorted()).toEqual(["kept", "lock"]);
});

it("takes the folders with it that were made for it, and no others", async () => {
  const parent = await newFolder();
  const made = join(parent, "made");
  await (await openWorkFolder(made)).forget();
  expect(existsSync(made)).toBe(false);
  await (await openWorkFolder(join(made, "deep", "er"))).forget();
  expect(existsSync(made)).toBe(false);
  await (await openWorkFolder(parent)).forget();
  expect(existsSync(parent)).toBe(true);
});
