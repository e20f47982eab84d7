import { describe, expect, it } from "vitest";
import { compilePattern, matchesFromStart, moduleName } from "./target-pattern.ts";

const GATE = "model.layers.0.mlp.gate";

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
    [".*a.*b.*c.*d.*e.*f", "xaxbxcxdxexf", true],
    [".*a.*b.*c.*d.*e.*f", "xaxbxcxdxex", false],
    ["^(?!.*lm_head).*", "model.layers.0", true],
    ["^(?!.*lm_head).*", "language_model.lm_head", false],
    ["^(?!.*(?:lm_head|embed)).*_proj$", "model.layers.0.q_proj", true],
    ["(?:(?!gate).)*$", GATE, false],
    ["(?=.*mlp)(?=.*gate).*$", GATE, true],
    [".*mlp\\.(?!shared_expert).*proj", "mlp.shared_expert.up_proj", false],
    [".*(?<!shared_)experts", "mlp.shared_experts.0", false],
    [".*(?<!shared_)experts", "mlp.experts.0", true],
    [".*(?<=mlp\\.)gate$", GATE, true],
    [".*\\bgate\\b", GATE, true],
    [".*\\bgate\\b", `${GATE}_proj`, false],
    ["(?i:MODEL)\\.layers", "model.layers", true],
    ["a{2}b{,1}c{1,}$", "aacc", true],
    ["x{,y}", "x{,y}", true],
    ["[]a]+$", "]a]", true],
    ["[^\\W\\d]+$", "späte", true],
    ["[^\\W\\d]+$", "a1", false],
    ["(?i)[^a]", "A", false],
    ["(a*)*b", "aab", true],
    ["(?:){3}a", "a", true],
    ["(a|b)\\1", "bb", true],
    ["(a|b)\\1", "ab", false],
    ["a$", "a\n", true],
    ["a\\Z", "a\n", false],
    ["\\x61\\u0062", "ab", true],
  ])("%s against %s: %s", (pattern, name, expected) => {
    expect(matchesFromStart(pattern, name)).toBe(expected);
  });

  // Each of these keeps a backtracking engine busy for longer than anyone waits.
  it.each([
    "(a+)+b",
    "(.*)*!",
    "((a|b)*c)+!",
    "(?:a+){2,}!",
    "(.|.)*!",
    "(?=(.|.)*!)",
    "(?:.|.)+?!",
    "(((.|.)))*!",
    "(.?){30}!",
    "(.{0,9}){0,9}!",
    "(a|a)*b",
    ".*.*.*.*.*!",
    "(?:(?:(?:a*)*)*)*!",
  ])("%s is answered in a time that grows with the name alone", (pattern) => {
    const meter = { left: 100_000_000 };
    expect(compilePattern(pattern).matches(moduleName("a".repeat(256)), meter)).toBe(false);
    expect(100_000_000 - meter.left).toBeLessThan(600_000);
  });

  it("refuse what is too long, or counts too high", () => {
    expect(() => matchesFromStart("a".repeat(501), "a")).toThrow(/501 characters/);
    expect(() => matchesFromStart("((a{50}){50}){50}", "a")).toThrow(/counts so high/);
  });

  it.each([
    ["(", "not closed"],
    ["a)", "closes nothing"],
    ["(?x)a", "the flag x"],
    ["a++", "possessive"],
    ["(?>a)", "groups that begin with (?>a"],
    ["(?<name>a)", "groups that begin with (?<n"],
    ["*a", "nothing to repeat"],
    ["a**", "a repeat follows"],
    ["[a", "not closed"],
    ["[z-a]", "range"],
    ["\\q", "no escape"],
    ["(?<=a+)b", "one length"],
    ["\\1(a)", "does not stand before"],
  ])("refuse %s: %s", (pattern, reason) => {
    expect(() => matchesFromStart(pattern, "a")).toThrow(/re:/);
    expect(() => matchesFromStart(pattern, "a")).toThrow(reason);
  });

  it("give up references that take too long", () => {
    expect(() => matchesFromStart("(.*)(.*)(.*)(.*)\\1\\2\\3\\4!", "a".repeat(256))).toThrow(
      /takes too long/,
    );
  });

  it("stop when all names together took too long", () => {
    const meter = { left: 1000 };
    const pattern = compilePattern(".*x.*y.*z");
    expect(() => {
      for (let index = 0; index < 1000; index++) pattern.matches(moduleName(`model.layers.${index}`), meter);
    }).toThrow(/too long/);
  });

  it("see no name longer than any model has", () => {
    expect(matchesFromStart("a*", "a".repeat(257))).toBe(false);
  });
});
