// Things from outside as parts of a sentence: short, whatever they are.

import { inOneLine } from "../../errors.ts";

const MAX_NAME = 80;
const MAX_VALUE = 60;
const MAX_ISSUE = 300;

/** A name of a tensor, a file or a column on one line, cut if it is long. */
export function shorten(name: string): string {
  const shown = inOneLine(name.slice(0, MAX_NAME + 1));
  return shown.length > MAX_NAME ? `${shown.slice(0, MAX_NAME - 3)}…` : shown;
}

/** A value as JSON, cut if it is long. "absent" for nothing, and what contains itself is "a circle". */
export function showValue(value: unknown): string {
  const text = asJson(value);
  return text.length > MAX_VALUE ? `${text.slice(0, MAX_VALUE - 3)}…` : text;
}

/** What valibot says of an issue; it may hold the whole value. */
export function issueText({ message }: { readonly message: string }): string {
  return message.length > MAX_ISSUE ? `${message.slice(0, MAX_ISSUE - 3)}…` : message;
}

function asJson(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.slice(0, MAX_VALUE));
  if (typeof value === "bigint" || typeof value === "number") return String(value);
  try {
    return JSON.stringify(value) ?? "absent";
  } catch {
    return "a circle";
  }
}
