import { expect, it } from "vitest";
import { codeFiles, moduleFiles } from "./named-files.ts";

const bytes = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));

it("finds the code that a configuration names", () => {
  const auto_map = {
    AutoConfig: "configuration_x.XConfig",
    AutoModel: "lib.modeling_x.XModel",
    AutoModelForCausalLM: "lib.modeling_x.XForCausalLM",
    AutoTokenizer: ["tokenization_x.XTokenizer", null],
    AutoProcessor: "owner/name--processing_x.XProcessor",
    AutoImageProcessor: "...passwd.X",
  };
  expect(codeFiles("config.json", bytes({ auto_map }))).toEqual([
    "configuration_x.py",
    "lib/modeling_x.py",
    "tokenization_x.py",
  ]);
  expect(codeFiles("config.json", bytes({ auto_map: "x" }))).toEqual([]);
  expect(codeFiles("config.json", new TextEncoder().encode("{"))).toEqual([]);
});

it("finds the folders of sentence-transformers' modules", () => {
  const modules = [{ path: "" }, { path: "1_Pooling" }, { path: "../x" }, { path: 7 }, null];
  expect(moduleFiles("modules.json", bytes(modules))).toEqual([
    "1_Pooling/config.json",
    "1_Pooling/model.safetensors",
  ]);
});

it("refuses a file that names more files than are asked for", () => {
  const names = (count: number) =>
    Object.fromEntries(Array.from({ length: count }, (_, index) => [`Auto${index}`, `m${index}.X`]));
  expect(codeFiles("config.json", bytes({ auto_map: names(32) }))).toHaveLength(32);
  expect(() => codeFiles("config.json", bytes({ auto_map: names(33) }))).toThrow(
    "config.json names 33 other files, and 32 at most are asked for.",
  );
});
