// A small disk that can be filled to its last byte.

import { execFileSync } from "node:child_process";
import { closeSync, mkdirSync, openSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";

const MIB = 1024 ** 2;

export interface SmallDisk extends Disposable {
  readonly path: string;
  /** Leaves no byte free. */
  fill(): void;
  empty(): void;
}

/**
 * Mounts a disk in memory.
 * @throws an Error that says what is needed where that is not allowed
 */
export function mountSmallDisk(path: string, mebibytes: number): SmallDisk {
  mkdirSync(path, { recursive: true });
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${mebibytes}m`, "tmpfs", path], { stdio: "pipe" });
  } catch (cause) {
    throw new Error(
      `A disk of ${mebibytes} MiB cannot be mounted at ${path}: rounds of full disks need root, and a system that lets it mount. Leave them out with --kinds kill,server.`,
      { cause },
    );
  }
  const filler = join(path, "filler");
  return {
    path,
    fill: () => fillWith(filler),
    empty: () => rmSync(filler, { force: true }),
    [Symbol.dispose]: () => {
      execFileSync("umount", ["--lazy", path], { stdio: "pipe" });
    },
  };
}

/** In ever smaller pieces, until none fits. */
function fillWith(filler: string): void {
  const file = openSync(filler, "w");
  try {
    for (let size = 8 * MIB; size >= 1; size = Math.floor(size / 16)) writePieces(file, new Uint8Array(size));
  } finally {
    closeSync(file);
  }
}

function writePieces(file: number, piece: Uint8Array): void {
  try {
    while (writeSync(file, piece) === piece.byteLength);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ENOSPC")) throw error;
  }
}
