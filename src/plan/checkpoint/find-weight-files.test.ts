import { describe, expect, it } from "vitest";
import { MalformedModelError } from "../../errors.ts";
import { layOutSafetensors } from "../../formats/safetensors/safetensors.ts";
import { INDEX_FILE } from "../../formats/safetensors/safetensors-index.ts";
import { type FileReader, readHeaders } from "./read-headers.ts";

function shard(...names: string[]): Uint8Array {
  const layout = layOutSafetensors(names.map((name) => ({ name, dtype: "F32", shape: [1] })));
  const bytes = new Uint8Array(layout.fileBytes);
  bytes.set(layout.header);
  return bytes;
}

const indexOf = (weight_map: Readonly<Record<string, string>>) =>
  new TextEncoder().encode(JSON.stringify({ weight_map }));

function reader(files: Readonly<Record<string, Uint8Array>>): FileReader {
  const content = (path: string) => files[path] ?? new Uint8Array();
  return {
    files: Object.entries(files).map(([path, { byteLength: bytes }]) => ({ path, bytes })),
    readRange: async ({ path, start, end }) => content(path).slice(start, end),
    readFile: async (path) => content(path),
  };
}

const namesOf = async (files: Readonly<Record<string, Uint8Array>>, tiesHead = false) => {
  const { tensors, notes } = await readHeaders(reader(files), tiesHead);
  return { names: tensors.map(({ name }) => name), notes };
};

describe("weight files", () => {
  it("reads shards whose names hold blanks, plus signs and brackets", async () => {
    const odd = "llama+merge [v2] (1).safetensors";
    const found = await namesOf({ [INDEX_FILE]: indexOf({ a: odd }), [odd]: shard("a") });
    expect(found).toEqual({ names: ["a"], notes: [] });
  });

  it("reads shards that are named as beside the index: ./x", async () => {
    const found = await namesOf({
      [INDEX_FILE]: indexOf({ a: "./x.safetensors" }),
      "x.safetensors": shard("a"),
    });
    expect(found).toEqual({ names: ["a"], notes: [] });
  });

  it.each([
    "../a.safetensors",
    "/a.safetensors",
    "b/a.safetensors",
    "a.bin",
    ".a.safetensors",
    "a\u202e.safetensors",
  ])("refuses an index that names %j", async (file) => {
    await expect(namesOf({ [INDEX_FILE]: indexOf({ a: file }) })).rejects.toThrow(
      "which is not the name of a file in this folder",
    );
  });

  it("reads a whole model.safetensors where the index names shards that are gone, and says so", async () => {
    const index = indexOf({ a: "model-00001-of-00002.safetensors" });
    const { names, notes } = await namesOf({ [INDEX_FILE]: index, "model.safetensors": shard("a", "b") });
    expect(names).toEqual(["a", "b"]);
    expect(notes).toEqual([
      expect.stringMatching(/model-00001-of-00002.*not there.*model\.safetensors is read instead/),
    ]);
    await expect(namesOf({ [INDEX_FILE]: index })).rejects.toThrow("not among the model's files");
  });

  it("takes a head that no file has for tied, unless config.json says that it is not", async () => {
    const index = indexOf({ "model.a": "x.safetensors", "lm_head.weight": "x.safetensors" });
    const files = { [INDEX_FILE]: index, "x.safetensors": shard("model.a") };
    const { names, notes } = await namesOf(files, true);
    expect(names).toEqual(["model.a"]);
    expect(notes).toEqual([expect.stringMatching(/names lm_head\.weight, which no file has: .*tied/)]);
    await expect(namesOf(files, false)).rejects.toThrow(MalformedModelError);
    const other = indexOf({ "model.a": "x.safetensors", "model.b": "x.safetensors" });
    await expect(namesOf({ ...files, [INDEX_FILE]: other }, true)).rejects.toThrow(
      'places the tensor "model.b"',
    );
  });

  it("knows what stands in the place of a file: a Git LFS pointer, a web page", async () => {
    const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${"0".repeat(64)}\nsize 182936\n`;
    await expect(namesOf({ "model.safetensors": new TextEncoder().encode(pointer) })).rejects.toThrow(
      'model.safetensors is a Git LFS pointer: three lines that stand for a file which was not downloaded. Run "git lfs pull"',
    );
    const page = new TextEncoder().encode("<!DOCTYPE html>\n<html><body>Sign in</body></html>\n");
    await expect(namesOf({ "model.safetensors": page })).rejects.toThrow(
      "model.safetensors is a web page (HTML): a sign-in, a refusal or an error was saved in its place.",
    );
  });
});
