import { expect, it } from "vitest";
import type { ResultFile } from "./result-files.ts";
import { saveFolder } from "./save-folder.ts";
import { memoryFolder } from "./testing/memory-folder.ts";

function resultFile(path: string, text: string): ResultFile {
  return { path, bytes: text.length, open: async () => new File([text], path) };
}

const FILES = [resultFile("config.json", "{}"), resultFile("original/params.json", "[1]")];
const nobody = () => undefined;

it("copies every file into a new folder and counts the bytes", async () => {
  const { handle, files } = memoryFolder();
  const counted: number[] = [];
  expect(await saveFolder(FILES, handle, "tiny", (bytes) => counted.push(bytes))).toBe("tiny");
  expect([...files].map(([path, bytes]) => [path, new TextDecoder().decode(bytes)])).toEqual([
    ["tiny/config.json", "{}"],
    ["tiny/original/params.json", "[1]"],
  ]);
  expect(counted.at(-1)).toBe(5);
});

it("leaves a folder or file of the same name alone", async () => {
  const { handle, files } = memoryFolder(["tiny/", "tiny-2"]);
  expect(await saveFolder(FILES, handle, "tiny", nobody)).toBe("tiny-3");
  expect([...files.keys()].every((path) => path.startsWith("tiny-3/"))).toBe(true);
});

it("says which file could not be written, and that nothing is lost", async () => {
  const { handle, files } = memoryFolder();
  const broken: ResultFile = {
    path: "model.safetensors",
    bytes: 1,
    open: async () => {
      const stream = () =>
        new ReadableStream({
          start: (controller) => controller.error(new DOMException("", "QuotaExceededError")),
        });
      return Object.assign(new File([], "x"), { stream });
    },
  };
  await expect(saveFolder([broken], handle, "tiny", nobody)).rejects.toThrow(
    /model\.safetensors could not be saved: the disk is full\. The result is still kept/,
  );
  expect(files.size).toBe(0);
});
