import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { UsageError } from "./argument-readers.ts";
import { parseOptions, parseWords } from "./parse-words.ts";

const OPTIONS = {
  out: { type: "string" },
  recipe: { type: "string", multiple: true },
  json: { type: "boolean", default: false },
} as const;

const refusal = (...args: string[]): string => {
  try {
    parseWords(args, OPTIONS);
  } catch (error) {
    if (error instanceof UsageError) return error.message;
    throw error;
  }
  return "taken";
};

it("gives options and the other words", () => {
  const { values, positionals } = parseWords(
    ["a", "--out=-b", "--recipe", "x", "--recipe", "y", "--json", "--json", "--", "--c"],
    OPTIONS,
  );
  expect({ ...values }).toEqual({ out: "-b", recipe: ["x", "y"], json: true });
  expect(positionals).toEqual(["a", "--c"]);
});

it("refuses other words where there are options alone", () => {
  expect(parseOptions(["--out", "x"], OPTIONS).out).toBe("x");
  expect(() => parseOptions(["--json", "word"], OPTIONS)).toThrow(
    new UsageError("“word” is not understood; all arguments are options."),
  );
});

it("says in one sentence what is wrong with an option", () => {
  expect(refusal("--recipee", "x")).toBe("There is no option --recipee.");
  expect(refusal("--no-json")).toBe("There is no option --no-json.");
  expect(refusal("--__proto__", "x")).toBe("There is no option --__proto__.");
  expect(refusal("-x")).toBe("There is no option -x.");
  expect(refusal("--json=yes")).toBe("--json takes no value, but is given “yes”.");
  expect(refusal("a", "--out")).toBe("--out needs a value behind it.");
  expect(refusal("--out", "--json")).toBe(
    "--out needs a value, and --json looks like the next option. If it is the value, write --out=--json.",
  );
});

it("refuses an empty value, unless it means something", () => {
  for (const words of [["--out", ""], ["--out= "], ["--recipe", "x", "--recipe", ""]])
    expect(refusal(...words)).toMatch(/^--\w+ is given an empty value\. Say what it is, or leave it out\.$/);
  expect(parseWords(["--out", ""], OPTIONS, ["out"]).values.out).toBe("");
});

it("refuses an option that is given twice where one value counts, and does not repeat what it was given", () => {
  expect(refusal("--out", "secret", "--json", "--out", "hidden")).toBe(
    "--out is given twice, and only one value can count. Leave the other out.",
  );
  expect(refusal("--recipe", "x", "--recipe", "x")).toBe("taken");
});

it("is what every command reads its words by", () => {
  const scripts = join(import.meta.dirname, "../..");
  const files = readdirSync(scripts, { recursive: true, encoding: "utf8" });
  const reading = files.filter((file) => /\.(mjs|ts)$/.test(file) && !file.endsWith(".test.ts"));
  const others = reading.filter((file) => /\bparseArgs\b/.test(readFileSync(join(scripts, file), "utf8")));
  expect(others).toEqual(["cli/arguments/parse-words.ts"]);
});
