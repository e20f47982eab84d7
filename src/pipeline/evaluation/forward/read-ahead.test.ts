import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { StoredModel } from "../../../evaluate/weights/stored-model.ts";
import { parseTensors } from "../../../testing/fixtures/architecture-fixture.ts";
import { storedFixture } from "../../../testing/fixtures/stored-fixture.ts";
import { readAhead } from "./read-ahead.ts";

const FOLDER = "e2e/fixtures/architectures/llama";
const config = JSON.parse(readFileSync(`${FOLDER}/config.json`, "utf8")) as Record<string, unknown>;
const tensors = parseTensors(
  "model.safetensors",
  Uint8Array.from(readFileSync(`${FOLDER}/model.safetensors`)),
);
const LAYER = [...tensors.keys()].filter((name) => name.startsWith("model.layers.0."));
const GATE = "model.layers.0.mlp.gate_proj.weight";

function model() {
  const calls: string[] = [];
  const stored = storedFixture(config, tensors);
  const told: StoredModel = {
    ...stored,
    announce: (from) => void calls.push(`announce ${from}`),
    async read(name, span) {
      calls.push(name);
      return await stored.read(name, span);
    },
  };
  return { stored, told, calls };
}

describe("readAhead", () => {
  it("asks for all of a layer at once, and gives it out whole and in part without asking again", async () => {
    const { stored, told, calls } = model();
    const ahead = readAhead(told);
    ahead.begin(0);
    expect(calls).toEqual(["announce 0", ...calls.slice(1)]);
    expect(calls.slice(1).toSorted()).toEqual(LAYER.toSorted());
    ahead.begin(1);
    const asked = calls.length;
    for (const name of LAYER) expect(await ahead.model.read(name)).toEqual(await stored.read(name));
    const span = { start: 64, end: 192 };
    expect(await ahead.model.read(GATE, span)).toEqual(await stored.read(GATE, span));
    expect(calls.length).toBe(asked);
  });

  it("keeps nothing of the layer before the last, which is read when it is asked for", async () => {
    const { stored, told, calls } = model();
    const ahead = readAhead(told);
    for (const layer of [0, 1, 2]) ahead.begin(layer);
    expect(await ahead.model.read(GATE)).toEqual(await stored.read(GATE));
    expect(calls.filter((name) => name === GATE)).toHaveLength(2);
  });

  it("only announces a layer that is too large to lie in memory beside another", () => {
    const { told, calls } = model();
    readAhead(told, 1000).begin(0);
    expect(calls).toEqual(["announce 0"]);
  });

  it("tells why a tensor did not come to whoever asks for it", async () => {
    const { told } = model();
    const ahead = readAhead({ ...told, read: async () => await Promise.reject(new Error("gone")) });
    ahead.begin(0);
    await expect(ahead.model.read(GATE)).rejects.toThrow("gone");
  });
});
