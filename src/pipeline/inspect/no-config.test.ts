import { expect, it } from "vitest";
import { noConfig } from "./no-config.ts";

const sentence = (...paths: string[]) =>
  noConfig(
    "dropped folder x",
    paths.map((path) => ({ path })),
  ).message;

it("a folder without config.json is told what it is instead", () => {
  expect(sentence("model.safetensors")).toMatch(/has no config\.json\. Point at the folder that holds/);
  expect(sentence("adapter_config.json", "adapter_model.safetensors")).toMatch(
    /is an adapter \(LoRA\).* Merge it into its model first/,
  );
  expect(sentence("refs/main", "snapshots/0e9e/config.json", "snapshots/0e9e/1_Pooling/config.json")).toMatch(
    /There is one in snapshots\/0e9e: point at that folder/,
  );
});
