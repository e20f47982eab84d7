import { describe, expect, it } from "vitest";
import { mkdir } from "node:fs/promises";
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

  it("leaves what is a sentence already, and what it does not know", async () => {
    const own = new StorageError("The folder is locked.");
    expect(systemFailure(own)).toBe(own);
    const other: unknown = await mkdir("/proc/self/status/no").catch((error: unknown) => error);
    expect(systemFailure(other)).toBe(other);
  });
});
