import { describe, expect, it } from "vitest";
import { calibrationFileOf, filesReference, firstLink, readDrop } from "./read-drop.ts";

function fileEntry(fullPath: string): FileSystemEntry {
  const name = fullPath.split("/").at(-1) ?? "";
  const entry = {
    isFile: true,
    name,
    fullPath,
    file: (done: (file: File) => void) => done(new File([], name)),
  };
  return entry as unknown as FileSystemEntry;
}

/** Hands out two entries at a time, as browsers hand out a hundred. */
function folderEntry(fullPath: string, children: FileSystemEntry[]): FileSystemEntry {
  const left = [...children];
  const readEntries = (done: (entries: FileSystemEntry[]) => void) => done(left.splice(0, 2));
  return { isFile: false, fullPath, createReader: () => ({ readEntries }) } as unknown as FileSystemEntry;
}

function transfer(content: { entries?: FileSystemEntry[]; data?: Record<string, string> }): DataTransfer {
  const items = (content.entries ?? []).map((entry) => ({ kind: "file", webkitGetAsEntry: () => entry }));
  const getData = (type: string) => content.data?.[type] ?? "";
  return { items, files: [], getData } as unknown as DataTransfer;
}

describe("readDrop", () => {
  it("walks dropped folders to their end and keeps the paths inside", async () => {
    const folder = folderEntry("/tiny", [
      fileEntry("/tiny/config.json"),
      folderEntry("/tiny/original", [fileEntry("/tiny/original/params.json")]),
      fileEntry("/tiny/model.safetensors"),
    ]);
    const reference = await readDrop(transfer({ entries: [folder] }));
    expect(reference?.kind === "files" && reference.files.map(({ path }) => path)).toEqual([
      "tiny/config.json",
      "tiny/original/params.json",
      "tiny/model.safetensors",
    ]);
  });

  it("takes a dragged link, or text that names a model", async () => {
    const link = {
      "text/uri-list": "# from a page\r\nhttps://huggingface.co/org/name\r\n",
      "text/plain": "title",
    };
    expect(await readDrop(transfer({ data: link }))).toEqual({
      kind: "address",
      address: "https://huggingface.co/org/name",
    });
    expect(await readDrop(transfer({ data: { "text/plain": " org/name " } }))).toEqual({
      kind: "address",
      address: "org/name",
    });
  });

  it("finds nothing in an empty folder or an empty selection", async () => {
    expect(await readDrop(transfer({ entries: [folderEntry("/empty", [])] }))).toBeNull();
    expect(await readDrop(transfer({}))).toBeNull();
  });

  it("refuses a folder that cannot be one model's", async () => {
    const many = Array.from({ length: 20_001 }, (_, index) => fileEntry(`/home/${index}`));
    await expect(readDrop(transfer({ entries: [folderEntry("/home", many)] }))).rejects.toThrow(
      /more than 20000 files/,
    );
  });

  it("names a file that the browser will not read", async () => {
    const entry = {
      isFile: true,
      name: "config.json",
      fullPath: "/tiny/config.json",
      file: (_done: unknown, fail: (error: Error) => void) => fail(new Error("NotFound")),
    } as unknown as FileSystemEntry;
    await expect(readDrop(transfer({ entries: [entry] }))).rejects.toThrow(/config\.json was dropped/);
  });
});

it("takes the path of chosen files from the folder that was chosen", () => {
  const inFolder = Object.assign(new File([], "config.json"), { webkitRelativePath: "tiny/config.json" });
  const single = Object.assign(new File([], "config.json"), { webkitRelativePath: "" });
  expect(filesReference([inFolder, single])).toMatchObject({
    files: [{ path: "tiny/config.json" }, { path: "config.json" }],
  });
});

it("passes over comments in a list of links", () => {
  expect(firstLink("#a\n\n https://a.example/ \nhttps://b.example/")).toBe("https://a.example/");
  expect(firstLink("")).toBeNull();
});

describe("a file to calibrate with", () => {
  const named = (...names: string[]) => filesReference(names.map((name) => new File(["x"], name)));

  it.each(["tales.txt", "chats.JSONL", "ids.json"])("may be %s", (name) => {
    expect(calibrationFileOf(named(name))?.name).toBe(name);
  });

  it.each([
    ["a part of a model", named("config.json")],
    ["an index", named("model.safetensors.index.json")],
    ["weights", named("model.safetensors")],
    ["several files", named("a.txt", "b.txt")],
    ["a link", { kind: "address", address: "https://example.org/tales.txt" }],
  ] as const)("is not %s", (_what, reference) => {
    expect(calibrationFileOf(reference)).toBeNull();
  });
});
