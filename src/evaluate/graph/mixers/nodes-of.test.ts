import { describe, expect, it } from "vitest";
import { UnsupportedModelError } from "../../../errors.ts";
import { attention } from "../../../model/parts/decoder-parts.ts";
import { nodesOf } from "./nodes-of.ts";
import type { Mixer } from "../../../model/mixer-description.ts";

const mixer = attention("model.layers.3.self_attn", {
  heads: 4,
  kvHeads: 2,
  headDim: 16,
  hiddenSize: 64,
  rotary: null,
});

describe("graphs", () => {
  it("know attention", () => {
    expect(nodesOf(mixer)).toMatchObject({ cache: { kvHeads: 2, headDim: 16 }, mask: null });
  });

  it("refuse a mixer that they do not know, by its name and kind", () => {
    const other = { ...mixer, kind: "tea-leaves" } as unknown as Mixer;
    expect(() => nodesOf(other)).toThrow(UnsupportedModelError);
    expect(() => nodesOf(other)).toThrow("model.layers.3.self_attn is of the kind tea-leaves, which");
  });
});
