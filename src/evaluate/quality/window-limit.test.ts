import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parseHeader, parseHeaderLength } from "../../formats/safetensors.ts";
import { describeDecoder } from "../../model/describe-decoder.ts";
import { longestWindow } from "./window-limit.ts";

function describeFixture(name: string) {
  const folder = join("e2e/fixtures/architectures", name);
  const file = readFileSync(join(folder, "model.safetensors"));
  const length = parseHeaderLength(name, file, file.byteLength);
  const tensors = parseHeader(name, file.subarray(8, 8 + length), file.byteLength);
  const config = JSON.parse(readFileSync(join(folder, "config.json"), "utf8"));
  return describeDecoder(
    config,
    tensors.map((tensor) => tensor.name),
  );
}

describe("the longest window", () => {
  it("grows with the budget", () => {
    const description = describeFixture("llama");
    const small = longestWindow(description, 2 ** 20);
    expect(longestWindow(description, 2 ** 22)).toBeGreaterThanOrEqual(4 * small);
  });

  it("grows with its root where attention keeps a score for each pair of tokens", () => {
    const description = describeFixture("gemma2");
    const [large, larger] = [longestWindow(description, 2 ** 30), longestWindow(description, 2 ** 32)];
    expect(larger / large).toBeGreaterThan(1.9);
    expect(larger / large).toBeLessThan(2.1);
  });

  it("is of two tokens at least, because one has nothing to predict", () => {
    expect(longestWindow(describeFixture("llama"), 1)).toBe(2);
  });
});
