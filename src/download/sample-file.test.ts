import { expect, it } from "vitest";
import { sampleFile } from "./sample-file.ts";

it("hashes pieces one behind the other, the last up to the file's end", async () => {
  const open = async () => await Promise.resolve(new File(["0123456789"], "model.safetensors"));
  const found = await sampleFile({ open }, { starts: [0, 4, 8], pieceBytes: 3 });
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode("01245689")));
  expect(found).toBe(Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join(""));
});

it("says what the file says that cannot be opened", async () => {
  const open = async () => await Promise.reject(new Error("It is no longer in the browser's storage."));
  await expect(sampleFile({ open }, { starts: [0], pieceBytes: 3 })).rejects.toThrow("no longer");
});
