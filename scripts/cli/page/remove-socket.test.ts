import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { removeSocket } from "./remove-socket.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "sockets-"));
});
afterEach(async () => await rm(folder, { recursive: true }));

/** A profile whose browser was killed, with its socket in a folder of that name. */
async function killedBrowser(socketFolder: string): Promise<string> {
  const [profile, socket] = [join(folder, "profile"), join(folder, socketFolder)];
  await mkdir(profile);
  await mkdir(socket);
  await writeFile(join(socket, "SingletonSocket"), "");
  await symlink(join(socket, "SingletonSocket"), join(profile, "SingletonSocket"));
  return profile;
}

it("removes the folder of the socket that a killed browser has left", async () => {
  await removeSocket(await killedBrowser("org.chromium.Chromium.aB3xYz"));
  expect(await readdir(folder)).toEqual(["profile"]);
});

it("removes nothing else that a link of that name leads to", async () => {
  await removeSocket(await killedBrowser("documents"));
  expect(await readdir(folder)).toEqual(["documents", "profile"]);
});

it("does nothing for a browser that has closed", async () => {
  await mkdir(join(folder, "profile"));
  await removeSocket(join(folder, "profile"));
  expect(await readdir(folder)).toEqual(["profile"]);
});
