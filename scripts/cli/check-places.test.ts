import { mkdir, mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { checkPlaces, strangersNote } from "./check-places.ts";

const newFolder = async () => await mkdtemp(join(tmpdir(), "places-"));

it("a folder with the name of a result's file is told of before anything is written", async () => {
  const out = await newFolder();
  await mkdir(join(out, "LICENSES"));
  await mkdir(join(out, "1_Pooling"));
  await writeFile(join(out, "config.json"), "{}");
  await expect(checkPlaces(out)).resolves.toBeUndefined();
  await expect(checkPlaces(join(out, "not/there"))).resolves.toBeUndefined();
  await mkdir(join(out, "model.safetensors"));
  await expect(checkPlaces(out)).rejects.toThrow(
    `${out}/model.safetensors is a folder with the name of a result’s file`,
  );
});

it("so is what lies in the folders of several results, or in their place", async () => {
  const out = await newFolder();
  const folders = ["W4A16", "FP8_DYNAMIC"];
  await mkdir(join(out, "model.safetensors"));
  await mkdir(join(out, "W4A16"));
  await expect(checkPlaces(out, folders)).resolves.toBeUndefined();
  await writeFile(join(out, "FP8_DYNAMIC"), "");
  await expect(checkPlaces(out, folders)).rejects.toThrow(`${out}/FP8_DYNAMIC is a file`);
  await mkdir(join(out, "W4A16/README.md"));
  await expect(checkPlaces(out, folders)).rejects.toThrow(`${out}/W4A16/README.md is a folder`);
});

it("files of another result beside a result's are told of, and notes of a person are not", async () => {
  const out = await newFolder();
  const written = ["model.safetensors", "config.json", "README.md"];
  for (const name of [...written, "notes.txt"]) await writeFile(join(out, name), "");
  await mkdir(join(out, ".layerpress"));
  expect(await strangersNote(out, written)).toEqual([]);
  await writeFile(join(out, "model-00001-of-00002.safetensors"), "");
  await writeFile(join(out, "generation_config.json"), "");
  expect(await strangersNote(out, written)).toEqual([
    `${out} holds files that are not of this result: generation_config.json, model-00001-of-00002.safetensors. Loaders may take them for files of it: move them away.`,
  ]);
});
