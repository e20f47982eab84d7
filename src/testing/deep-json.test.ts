// Every reader of a named file says of values that nest too deep that they do, and not that the file is no JSON.

import { describe, expect, it } from "vitest";
import { readReceipt } from "../../scripts/cli/read-receipt.ts";
import { parseSamples } from "../calibrate/samples/parse-samples.ts";
import { parseTools } from "../calibrate/samples/parse-messages.ts";
import { parseIndex } from "../formats/safetensors/safetensors-index.ts";
import { loadTokenizer } from "../model/tokenizer/tokenizer.ts";
import { parsePartDocument } from "../package/part-document.ts";
import { readConfig } from "../plan/checkpoint/read-config.ts";
import { codeFiles, moduleFiles } from "../source/folders/named-files.ts";

describe("JSON that nests too deep", () => {
  const encode = (text: string) => new TextEncoder().encode(text);
  const deep = "[".repeat(101) + "]".repeat(101);
  const bytes = encode(deep);
  const readers: readonly [string, (path: string) => unknown][] = [
    ["config.json", () => readConfig(bytes)],
    ["model.safetensors.index.json", () => parseIndex(bytes)],
    ["tokenizer_config.json", (path) => codeFiles(path, bytes)],
    ["modules.json", (path) => moduleFiles(path, bytes)],
    ["part.json", (path) => parsePartDocument(path, deep)],
    ["a.json", async (path) => await parseSamples(path, bytes)],
    ["a.jsonl, line 1,", async () => await parseSamples("a.jsonl", bytes)],
    ["a.jsonl, line 2,", async () => await parseSamples("a.jsonl", encode(`{"text":"a"}\n${deep}`))],
    ["The receipt receipt.json", () => readReceipt(deep, "receipt.json")],
    [
      "tokenizer.json",
      () =>
        loadTokenizer({
          tokenizerJson: bytes,
          tokenizerConfig: null,
          chatTemplates: new Map(),
          processorTemplate: null,
        }),
    ],
    ["Row 1 tools", () => parseTools("Row 1", deep)],
  ];

  it.each(readers)("is refused by that name: %s", async (name, read) => {
    await expect((async () => await read(name))()).rejects.toThrow(
      `${name} nests its values more than 100 levels deep`,
    );
  });
});
