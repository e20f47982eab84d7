import { expect, it } from "vitest";
import { noConfig } from "./no-config.ts";

const sentence = (...paths: string[]) =>
  noConfig(
    "local folder x",
    paths.map((path) => ({ path })),
  ).message;

it("a folder without config.json is told what it is instead", () => {
  expect(sentence("model.safetensors")).toMatch(
    /^There is no config\.json in local folder x\. Point at the folder that holds/,
  );
  expect(sentence("adapter_config.json", "adapter_model.safetensors")).toMatch(
    /^An adapter \(LoRA\) is no model by itself, and local folder x holds one\. Merge it into its model first/,
  );
  expect(sentence("refs/main", "snapshots/0e9e/config.json", "snapshots/0e9e/1_Pooling/config.json")).toMatch(
    / snapshots\/0e9e has one: point at that folder/,
  );
});
