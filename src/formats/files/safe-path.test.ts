import { expect, it } from "vitest";
import { encodePath, isSafePath, isSourcePath } from "./safe-path.ts";

it.each([
  "model (1).safetensors",
  "llama+merge.safetensors",
  "model[v2]{x}.safetensors",
  "模型/モデル-é.safetensors",
  "100% done, #1 & more=ok.txt",
])("reads %j from a source, and does not write it", (path) => {
  expect(isSourcePath(path)).toBe(true);
  expect(isSafePath(path)).toBe(false);
});

it.each([
  "",
  "/a",
  "a//b",
  "a/",
  "..",
  "../a",
  "a/../b",
  "./a",
  "a\\b",
  "c:d",
  "a\u0000b",
  "a\u202eb",
  " a",
  "a ",
  "a\nb",
  "x".repeat(256),
])("reads no %j", (path) => {
  expect(isSourcePath(path)).toBe(false);
});

it("encodes a path for an address", () => {
  expect(encodePath("a b/c+d[1]#%.txt")).toBe("a%20b/c%2Bd%5B1%5D%23%25.txt");
});
