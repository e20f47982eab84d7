// config.json of every preset, field for field as LLM Compressor writes it.

import { describe, expect, it } from "vitest";
import digests from "../../../e2e/fixtures/golden/digests.json";
import { groupsOf } from "../../formats/recipe/recipe.ts";
import { quantizationConfig } from "../../package/quantization-config.ts";
import { parseRecipe } from "../../plan/recipe/parse-recipe.ts";
import { type GoldenDigests, goldenYaml } from "../../testing/fixtures/golden.ts";

const { recipes }: GoldenDigests = digests as unknown as GoldenDigests;

describe("quantization_config", () => {
  it.each(Object.keys(recipes))("of %s is LLM Compressor's", (name) => {
    const golden = recipes[name];
    if (!golden) throw new Error(`no recipe ${name}`);
    const recipe = parseRecipe(goldenYaml(golden));
    const facts = { groups: groupsOf(recipe), kv_cache_scheme: null, ignored: ["lm_head"] };
    // the release that the format is of, not the one that the digests were made with
    const expected = { ...golden.quantization_config, version: "0.18.0" };
    expect(quantizationConfig(facts)).toEqual(name === "W4AFP8" ? packed(expected) : expected);
  });
});

/** W4AFP8 as vLLM loads it; LLM Compressor writes it as bytes. */
function packed(config: Readonly<Record<string, unknown>>): unknown {
  return JSON.parse(JSON.stringify(config).replaceAll('"int-quantized"', '"pack-quantized"'));
}
