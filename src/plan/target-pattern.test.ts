import { describe, expect, it } from "vitest";
import { matchesFromStart } from "./target-pattern.ts";

describe("patterns of recipes", () => {
  // As Python's re.match does.
  it.each([
    ["model.layers", "model.layers.0.mlp", true],
    ["layers", "model.layers.0.mlp", false],
    [".*layers", "model.layers.0.mlp", true],
    ["lm_head$", "lm_head", true],
    ["a|b", "b.c", true],
    [".*(gate|up)_proj$", "model.layers.0.mlp.up_proj", true],
    ["(?P<layer>\\w+)\\.(?P=layer)", "x.x", true],
    ["(?i)MODEL", "model", true],
    ["\\Amodel\\Z", "model", true],
    ["\\Amodel\\Z", "model.x", false],
    ["model\\.layers\\.\\d{1,2}\\.", "model.layers.17.x", true],
    ["[(+*]*x", "x", true],
  ])("%s against %s: %s", (pattern, name, expected) => {
    expect(matchesFromStart(pattern, name)).toBe(expected);
  });

  it.each(["(a+)+b", "(.*)*", "((a|b)*c)+", "(?:a+){2,}"])("refuse %s, which may never end", (pattern) => {
    expect(() => matchesFromStart(pattern, "a")).toThrow(/take forever/);
  });

  it("refuse too many repeats, and what is too long", () => {
    expect(() => matchesFromStart(".*a.*b.*c.*d.*e.*f", "a")).toThrow(/6 repeats/);
    expect(() => matchesFromStart("a".repeat(501), "a")).toThrow(/501 characters/);
  });

  it.each(["(", "(?x)a", "a++", "(?>a)"])("refuse %s, which JavaScript cannot run", (pattern) => {
    expect(() => matchesFromStart(pattern, "a")).toThrow(/re:/);
  });

  it("see no name longer than any model has", () => {
    expect(matchesFromStart("a*", "a".repeat(257))).toBe(false);
  });
});
