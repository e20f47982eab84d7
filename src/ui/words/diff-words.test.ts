import { describe, expect, it } from "vitest";
import { diffWords } from "./diff-words.ts";

describe("two answers", () => {
  it("differ in words, not in all that follows the first", () => {
    const { a, b } = diffWords("a small fox by the river", "a tall fox near the river");
    expect(a).toEqual([
      { text: "a ", isShared: true },
      { text: "small ", isShared: false },
      { text: "fox ", isShared: true },
      { text: "by ", isShared: false },
      { text: "the river", isShared: true },
    ]);
    expect(b.filter(({ isShared }) => !isShared).map(({ text }) => text)).toEqual(["tall ", "near "]);
  });

  it("share everything where they are equal, and up to the end of the shorter one", () => {
    expect(diffWords(" a map", " a map").a).toEqual([{ text: " a map", isShared: true }]);
    expect(diffWords("a map", "a map of Spain").b).toEqual([
      { text: "a map ", isShared: true },
      { text: "of Spain", isShared: false },
    ]);
  });

  it("keep every letter, however long they are", () => {
    const long = Array.from({ length: 3000 }, (_, at) => `w${at % 7}`).join("  \n");
    const { a, b } = diffWords(long, `x ${long}`);
    expect(a.map(({ text }) => text).join("")).toBe(long);
    expect(b.map(({ text }) => text).join("")).toBe(`x ${long}`);
  });

  it("may be empty", () => {
    expect(diffWords("", "a")).toEqual({ a: [], b: [{ text: "a", isShared: false }] });
  });
});
