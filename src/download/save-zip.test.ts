import { crc32 } from "hash-wasm";
import { expect, it } from "vitest";
import type { ResultFile } from "./result-files.ts";
import { saveZip, zipStream } from "./save-zip.ts";

function resultFile(path: string, content: Uint8Array<ArrayBuffer>): ResultFile {
  return { path, bytes: content.byteLength, open: async () => new File([content], path) };
}

/** Entries by the central directory (APPNOTE 6.3.10, sections 4.3.12 and 4.3.16), each with its stored bytes. */
function readZip(zip: Uint8Array<ArrayBuffer>) {
  const view = new DataView(zip.buffer);
  // A zip without a comment ends with the 22 bytes that say where its directory is.
  const end = zip.byteLength - 22;
  let at = view.getUint32(end + 16, true);
  return Array.from({ length: view.getUint16(end + 10, true) }, () => {
    const nameLength = view.getUint16(at + 28, true);
    const local = view.getUint32(at + 42, true);
    const data = local + 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true);
    const entry = {
      name: new TextDecoder().decode(zip.subarray(at + 46, at + 46 + nameLength)),
      method: view.getUint16(at + 10, true),
      checksum: view
        .getUint32(at + 16, true)
        .toString(16)
        .padStart(8, "0"),
      content: zip.slice(data, data + view.getUint32(at + 20, true)),
    };
    at += 46 + nameLength + view.getUint16(at + 30, true) + view.getUint16(at + 32, true);
    return entry;
  });
}

it("stores every file in one folder, byte for byte", async () => {
  const weights = Uint8Array.from({ length: 100_000 }, (_, index) => index % 251);
  const files = [
    resultFile("config.json", new TextEncoder().encode("{}")),
    resultFile("model.safetensors", weights),
  ];
  let counted = 0;
  const zip = new Uint8Array(
    await new Response(zipStream(files, "tiny", (bytes) => (counted = bytes))).arrayBuffer(),
  );
  const entries = readZip(zip);
  expect(entries.map(({ name, method }) => [name, method])).toEqual([
    ["tiny/config.json", 0],
    ["tiny/model.safetensors", 0],
  ]);
  expect(entries[1]?.content).toEqual(weights);
  expect(entries[1]?.checksum).toBe(await crc32(weights));
  expect(counted).toBe(zip.byteLength);
});

it("opens a file only when the zip has come to it", async () => {
  const opened: string[] = [];
  const files = ["a", "b", "c"].map((path): ResultFile => {
    const content = new Uint8Array(70_000);
    return {
      path,
      bytes: content.byteLength,
      open: async () => (opened.push(path), new File([content], path)),
    };
  });
  const reader = zipStream(files, "tiny", () => undefined).getReader();
  await reader.read();
  expect(opened).toEqual(["a"]);
  await reader.cancel();
});

it("ends with the file's own error", async () => {
  const lost: ResultFile = {
    path: "a",
    bytes: 1,
    open: async () => await Promise.reject(new Error("a is gone")),
  };
  await expect(new Response(zipStream([lost], "tiny", () => undefined)).arrayBuffer()).rejects.toThrow(
    "a is gone",
  );
});

it("opens no file where the zip itself cannot be written", async () => {
  const opened: string[] = [];
  const file: ResultFile = {
    path: "a",
    bytes: 1,
    async open() {
      opened.push("a");
      return await Promise.resolve(new File(["a"], "a"));
    },
  };
  const refusing = async () => await Promise.reject(new DOMException("", "NotAllowedError"));
  const target = { createWritable: refusing } as unknown as FileSystemFileHandle;
  await expect(saveZip([file], target, "tiny", () => undefined)).rejects.toThrow(/was not allowed to/);
  expect(opened).toEqual([]);
});
