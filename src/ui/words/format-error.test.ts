import { expect, it } from "vitest";
import { formatError, formatPower } from "./format-error.ts";

it.each([
  [0, "0"],
  [0.0123456, "0.0123"],
  [1, "1.00"],
  [1_234.5, "1,230"],
  [4.564e-7, "4.56 × 10⁻⁷"],
  [6.02214e23, "6.02 × 10²³"],
  [Number.POSITIVE_INFINITY, "not finite"],
])("writes %d in three digits as %s", (value, text) => {
  expect(formatError(value)).toBe(text);
});

it.each([
  [-12, "10⁻¹²"],
  [0, "10⁰"],
  [5, "10⁵"],
])("writes the power %i", (exponent, text) => {
  expect(formatPower(exponent)).toBe(text);
});
