import { expect, it } from "vitest";
import { hashFiles } from "./hash-files.ts";

const SIZES = [0, 70_000, 3, 12_000];

it("hashes each file as one thread does, in threads of their own, and counts every byte once", async () => {
  const files = SIZES.map((bytes, index) => ({
    path: `${index}`,
    file: new Blob([new Uint8Array(bytes).fill(index + 1)]),
  }));
  const wanted = await Promise.all(files.map(async ({ file }) => await digestOf(file)));
  for (const threadBytes of [1, Infinity]) {
    let counted = 0;
    const hashes = await hashFiles(files, (bytes) => (counted += bytes), threadBytes);
    expect(hashes).toEqual(wanted);
    expect(counted).toBe(SIZES.reduce((sum, bytes) => sum + bytes, 0));
  }
});

async function digestOf(file: Blob): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", await file.arrayBuffer());
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
