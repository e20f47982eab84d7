import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { mkdir, readFile } from "node:fs/promises";
import { StorageError } from "../../src/errors.ts";
import { systemFailure } from "./system-failure.ts";

describe("systemFailure", () => {
  it("says what a full disk means, and of which file", () => {
    const full = Object.assign(new Error("ENOSPC: no space left on device, write"), {
      code: "ENOSPC",
      syscall: "write",
      path: "/out/lock",
    });
    const said = systemFailure(full);
    expect(said).toBeInstanceOf(StorageError);
    expect(said.message).toBe(
      "/out/lock could not be written or read: the disk is full. Free space, then give the same command again; it goes on from what is finished.",
    );
  });

  it.each([
    [
      "a file in the way",
      async () => await mkdir("/proc/self/status/no"),
      /status\/no .*: a file lies where/,
    ],
    ["a folder in the way", async () => await readFile("/proc"), /: a folder lies where a file is needed/],
    [
      "no place for a folder",
      async () => await mkdir("/proc/none/out"),
      /\/proc\/none.*: no folder can be made there/,
    ],
    ["nothing", async () => await readFile("/proc/none"), /\/proc\/none .*: it is not there, or was moved/],
    ["too long a name", async () => await mkdir(join(tmpdir(), "n".repeat(300))), /: its name is longer/],
  ])("says what to do where there is %s", async (_, act, sentence) => {
    const error: unknown = await act().catch((thrown: unknown) => thrown);
    expect(systemFailure(error)).toBeInstanceOf(StorageError);
    expect(systemFailure(error).message).toMatch(sentence);
  });

  it.each([
    [
      "page.goto: net::ERR_ABORTED at http://layerpress.localhost/?shown=no\nCall log:\n  - navigating",
      "BrowserError",
      /could not be opened or went away: net::ERR_ABORTED at \S+no\. One of/,
    ],
    [
      "page.evaluate: Error: A part of this page could not be loaded.\n    at Worker.<anonymous> (x.js:1:2)",
      "BrowserError",
      /went away: A part of this page could not be loaded\. One of the browser's processes/,
    ],
    [
      "page.evaluate: StorageError: The disk is full.\n    at f (x.js:1:2)",
      "StorageError",
      /^The disk is full\.$/,
    ],
  ])("takes the driver's words from %j", (words, name, sentence) => {
    const said = systemFailure(new Error(words));
    expect(said.name).toBe(name);
    expect(said.message).toMatch(sentence);
  });

  it("leaves what is a sentence already, and what it does not know", () => {
    const own = new StorageError("The folder is locked.");
    expect(systemFailure(own)).toBe(own);
    const other = Object.assign(new Error("ECHILD: no child processes"), { code: "ECHILD" });
    expect(systemFailure(other)).toBe(other);
  });
});
