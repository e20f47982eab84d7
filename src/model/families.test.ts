// One checkpoint of each family that has no fixture with weights: its config.json and its tensors' shapes.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { checkShapes, describedTensors } from "./check-tensors.ts";
import { describeDecoder } from "./describe-decoder.ts";
import { FAMILIES } from "./families.ts";
import { captures, layerLinears } from "./layer-linears.ts";

const FOLDER = "e2e/fixtures/families";

interface Checkpoint {
  readonly config: Record<string, unknown>;
  readonly tensors: Record<string, number[]>;
}

function load(file: string): Checkpoint {
  return JSON.parse(readFileSync(join(FOLDER, file), "utf8")) as Checkpoint;
}

describe.each(readdirSync(FOLDER))("%s", (file) => {
  const { config, tensors } = load(file);
  const names = Object.keys(tensors);

  it("is described to the last tensor", () => {
    const description = describeDecoder(config, names);
    const specs = names.map((name) => ({ name, dtype: "BF16" as const, shape: tensors[name] ?? [] }));
    checkShapes(description, specs);
    expect([...describedTensors(description).keys()].toSorted()).toEqual(names.toSorted());
  });

  it("has each Linear but routers and gates in one capture", () => {
    for (const layer of describeDecoder(config, names).layers) {
      const captured = captures(layer).flatMap(({ modules }) => modules);
      const linears = layerLinears(layer).map(({ module }) => module);
      const isRouter = /\.gate$|\.gate\.wg$|shared_expert_gate$|\.router(\.layer)?$/;
      expect(captured.toSorted()).toEqual(linears.filter((module) => !isRouter.test(module)).toSorted());
    }
  });

  it("is refused where a tensor is absent, by its name", () => {
    const gone = names.find((name) => /\.0\..*(norm|ln_)/.test(name)) ?? "";
    expect(() =>
      describeDecoder(
        config,
        names.filter((name) => name !== gone),
      ),
    ).toThrow(gone);
  });
});

describe("values that are not known", () => {
  it.each([
    ["falcon.json", "alibi", true],
    ["olmoe.json", "clip_qkv", 8],
    ["nemotron-h.json", "moe_latent_size", 64],
    ["qwen3-5-text.json", "hidden_act", "gelu"],
    ["bamba.json", "hidden_act", "relu"],
    ["deepseek-v2.json", "topk_method", "noaux_tc"],
  ])("stop %s by the name of %s", (file, field, value) => {
    const { config, tensors } = load(file);
    const changed = { ...config, [field]: value };
    expect(() => describeDecoder(changed, Object.keys(tensors))).toThrow(`config.json: "${field}"`);
  });
});

it.each(["README.md", "docs/adding-a-family.md"])(
  "%s names every type that calibration knows, and no other",
  (document) => {
    const cells = readFileSync(document, "utf8").matchAll(/^\| ([^|]*) \|/gm);
    const named = [...cells].flatMap(([, cell = ""]) =>
      cell.split(",").map((name) => name.replaceAll("`", "").trim()),
    );
    const known = Object.keys(FAMILIES).filter((type) => !/^qwen2(_5)?_vl_text$/.test(type));
    expect(known.filter((type) => !named.includes(type))).toEqual([]);
    const isType = (name: string) => /^[a-z0-9_]+$/.test(name) && name !== "model_type";
    expect(named.filter(isType).filter((name) => !known.includes(name))).toEqual([]);
  },
);
