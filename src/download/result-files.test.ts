import { expect, it } from "vitest";
import { checkPaths } from "./result-files.ts";

it("lets the files of a model folder through", () => {
  expect(() =>
    checkPaths(["model-00001-of-00002.safetensors", "config.json", ".gitattributes", "original/params.json"]),
  ).not.toThrow();
});

it.each([
  "../config.json",
  "/etc/passwd",
  "a//b",
  "a/./b",
  "a\\b",
  "C:x",
  "con",
  "a/NUL.json",
  "name.",
  "",
  "a".repeat(256),
  "spaced name",
  "a\u0000b",
  "a\u202eb",
])("stops %j before it reaches a disk", (path) => {
  expect(() => checkPaths([path])).toThrow(/which is not saved/);
});

it("stops names that some disks take for one", () => {
  expect(() => checkPaths(["config.json", "Config.JSON"])).toThrow(/twice/);
});
