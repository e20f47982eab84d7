// Two commands over an old build: one builds, the other waits for it.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { doOnce } from "./preparing-lock.mjs";

const MODULE = join(import.meta.dirname, "preparing-lock.mjs");

let folder: string;
let lock: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "layerpress-lock-"));
  lock = join(folder, "lock");
});

afterEach(async () => {
  await rm(folder, { recursive: true });
});

describe("doOnce", () => {
  it("does the work once, whoever asks at the same time", async () => {
    const script = `
      import { appendFileSync, existsSync, writeFileSync } from "node:fs";
      import { doOnce } from ${JSON.stringify(MODULE)};
      const [done, log] = [${JSON.stringify(join(folder, "done"))}, ${JSON.stringify(join(folder, "log"))}];
      doOnce(${JSON.stringify(lock)}, () => existsSync(done), () => {
        appendFileSync(log, "begun ");
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 300);
        appendFileSync(log, "ended ");
        writeFileSync(done, "");
      });
      if (!existsSync(done)) process.exit(1);`;
    const commands = Array.from({ length: 4 }, () =>
      spawn(process.execPath, ["--input-type=module", "-e", script], { stdio: "inherit" }),
    );
    const codes = await Promise.all(
      commands.map(async (command) => (await once(command, "exit"))[0] as number),
    );
    expect(codes).toEqual([0, 0, 0, 0]);
    expect(await readFile(join(folder, "log"), "utf8")).toBe("begun ended ");
    expect((await readdir(folder)).toSorted()).toEqual(["done", "log"]);
  });

  it.each([
    ["a process that was killed", { host: hostname(), pid: 2 ** 30, began: "1" }],
    ["an earlier process of a number that lives", { host: hostname(), pid: process.pid, began: "1" }],
    ["nobody", {}],
  ])("takes the lock of %s away, and does what may be half done", async (_, owner) => {
    await writeFile(lock, JSON.stringify(owner));
    let times = 0;
    doOnce(
      lock,
      () => false,
      () => void times++,
    );
    expect([times, await readdir(folder)]).toEqual([1, []]);
  });

  it("does nothing where it is done and nobody is at work", async () => {
    doOnce(
      lock,
      () => true,
      () => expect.fail("it was done"),
    );
    expect(await readdir(folder)).toEqual([]);
  });

  it("leaves no lock behind work that fails", async () => {
    const fail = () => {
      throw new Error("no disk");
    };
    expect(() => doOnce(lock, () => false, fail)).toThrow("no disk");
    expect(await readdir(folder)).toEqual([]);
  });

  it("says whom it has waited for", async () => {
    await writeFile(lock, JSON.stringify({ host: "elsewhere", pid: 7, began: "1" }));
    expect(() =>
      doOnce(
        lock,
        () => false,
        () => undefined,
        0,
      ),
    ).toThrow(
      /Process 7 on elsewhere has been installing or building for 0 minutes\. End it, or delete .*lock/,
    );
    expect(await readdir(folder)).toEqual(["lock"]);
  });
});
