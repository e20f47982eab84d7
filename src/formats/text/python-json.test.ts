import { expect, it } from "vitest";
import { parsePythonJson } from "./python-json.ts";

it("reads the numbers that Python writes and JSON has not", () => {
  expect(parsePythonJson('{"a": [0.0, Infinity], "b": -Infinity, "c": NaN}')).toEqual({
    a: [0, Infinity],
    b: -Infinity,
    c: Number.NaN,
  });
});

it("leaves words inside of strings alone", () => {
  const text = String.raw`{"NaN": "Infinity \"NaN\" \\", "x": NaN}`;
  expect(parsePythonJson(text)).toEqual({ NaN: 'Infinity "NaN" \\', x: Number.NaN });
});

it("refuses what neither writes", () => {
  for (const text of ["{", "[1,]", "{'a': 1}", "[Infinit]", "nan"]) {
    expect(() => parsePythonJson(text)).toThrow(SyntaxError);
  }
});

it("reads long strings", () => {
  const text = "x".repeat(5_000_000);
  expect(parsePythonJson(`["${text}", NaN]`)).toEqual([text, Number.NaN]);
});
