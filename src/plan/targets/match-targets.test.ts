import { describe, expect, it } from "vitest";
import { findScheme } from "../../formats/schemes/presets.ts";
import type { QuantizingModifier } from "../../formats/recipe/recipe.ts";
import { isIgnored, matchGroup } from "./match-targets.ts";

const scheme = findScheme("W4A16")?.scheme ?? { weights: null, input_activations: null };
const DOWN = "model.layers.0.mlp.down_proj";

function modifier(groups: Readonly<Record<string, string[]>>, ignore: string[] = []): QuantizingModifier {
  const list = Object.entries(groups).map(([name, targets]) => ({ name, preset: null, scheme, targets }));
  return { name: "QuantizationModifier", groups: list, ignore, kv_cache_scheme: null };
}

function groupOf(module: string, ...modifiers: QuantizingModifier[]): string | null {
  return matchGroup(module, { modifiers })?.group.name ?? null;
}

describe("targets", () => {
  it("match by name before pattern before class, whatever their order", () => {
    const groups = { byClass: ["Linear"], byPattern: ["re:.*down_proj$"], byName: [DOWN] };
    expect(groupOf(DOWN, modifier(groups))).toBe("byName");
    expect(groupOf("model.layers.1.mlp.down_proj", modifier(groups))).toBe("byPattern");
    expect(groupOf("model.layers.1.mlp.up_proj", modifier(groups))).toBe("byClass");
  });

  it("match in alphabetical order among patterns", () => {
    expect(groupOf(DOWN, modifier({ second: ["re:.*mlp.*"], first: ["re:.*down.*"] }))).toBe("first");
  });

  it("match the later of two groups with the same target", () => {
    expect(groupOf(DOWN, modifier({ one: ["Linear"], two: ["Linear"] }))).toBe("two");
  });

  it("match the last modifier that targets the module and does not ignore it", () => {
    const first = modifier({ first: ["Linear"] });
    expect(groupOf(DOWN, first, modifier({ second: ["re:.*mlp.*"] }))).toBe("second");
    expect(groupOf(DOWN, first, modifier({ second: ["Linear"] }, [DOWN]))).toBe("first");
    expect(groupOf(DOWN, modifier({ only: ["Linear"] }, ["re:.*down_proj"]))).toBeNull();
  });

  it("do not match classes that a checkpoint does not tell", () => {
    expect(groupOf(DOWN, modifier({ only: ["LlamaMLP"] }))).toBeNull();
    expect(isIgnored(DOWN, ["LlamaMLP"])).toBe(false);
    expect(isIgnored(DOWN, ["Linear"])).toBe(true);
  });
});
