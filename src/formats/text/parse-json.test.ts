import { describe, expect, it } from "vitest";
import { CalibrationError, LayerpressError, MalformedModelError } from "../../errors.ts";
import { parseJson, parseJsonBytes } from "./parse-json.ts";
import { endOfString } from "./python-json.ts";
import { issueText, shorten, showValue } from "./show-value.ts";

const nested = (depth: number) => `${"[".repeat(depth)}${"]".repeat(depth)}`;

describe("JSON from outside", () => {
  it("is read up to a hundred levels deep, and no deeper", () => {
    expect(JSON.stringify(parseJson("a.json", nested(100)))).toBe(nested(100));
    expect(() => parseJson("a.json", nested(101))).toThrow(
      new MalformedModelError(
        "a.json nests its values more than 100 levels deep, which no real file does. It is damaged, or made to do harm.",
      ),
    );
    expect(() => parseJson("a.json", '{"a":'.repeat(1_000_000))).toThrow(/levels deep/);
  });

  it("does not count brackets in strings, quotes and slashes in them neither", () => {
    const text = JSON.stringify({ a: `"\\${"[{".repeat(200)}\\\\`, b: "\\" });
    expect(parseJson("a.json", text)).toEqual(JSON.parse(text));
    expect(endOfString(String.raw`"a\\"b`, 0)).toBe(4);
    expect(endOfString(String.raw`"a\"b`, 0)).toBe(5);
  });

  it("fails in the words and the class of who asks", () => {
    const read = () => parseJson("Line 3", "{", CalibrationError);
    expect(read).toThrow(CalibrationError);
    expect(read).toThrow(/^Line 3 is not valid JSON: ./);
    expect(() => parseJsonBytes("a.json", Uint8Array.of(0x22, 0xff, 0x22))).toThrow(/UTF-8/);
  });
});

describe("what comes from outside into a sentence", () => {
  const long = "x".repeat(3_000_000);
  const circle: unknown[] = [];
  circle.push(circle);

  it.each([
    [shorten(long), 78],
    [showValue(long), 58],
    [showValue([long]), 58],
    [issueText({ message: long }), 298],
    [new LayerpressError(long).message, 3003],
  ])("is short", (text, length) => {
    expect(text).toHaveLength(length);
  });

  it("is on one line", () => {
    expect(shorten("a\nb\u202e.weight")).toBe(String.raw`a\nb\u202e.weight`);
    expect(shorten("\n".repeat(50))).toBe(`${String.raw`\n`.repeat(38)}\\…`);
  });

  it("is shown whatever it is", () => {
    expect([undefined, null, Number.NaN, 5n, circle, { a: "b" }].map(showValue)).toEqual([
      "absent",
      "null",
      "NaN",
      "5",
      "a circle",
      '{"a":"b"}',
    ]);
  });
});
