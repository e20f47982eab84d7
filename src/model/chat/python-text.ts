// How Python prints values: what `{{ value }}` of a chat template writes in transformers. The library that interprets
// templates here prints as JavaScript does, nothing for None and JSON for lists.

/** A value as the library holds it while a template runs. */
export interface RuntimeValue {
  readonly type: string;
  readonly value: unknown;
  toString(): string;
}

/** What `str(value)` is in Python. */
export function pythonText(value: RuntimeValue): string {
  if (value.type === "StringValue") return String(value.value);
  return value.type === "UndefinedValue" ? "" : pythonRepr(value);
}

/** What `repr(value)` is in Python. */
function pythonRepr(value: RuntimeValue): string {
  switch (value.type) {
    case "NullValue":
    case "UndefinedValue":
      return "None";
    case "BooleanValue":
      return value.value ? "True" : "False";
    case "StringValue":
      return stringRepr(String(value.value));
    case "ArrayValue":
      return `[${itemsOf(value).map(pythonRepr).join(", ")}]`;
    case "TupleValue": {
      const items = itemsOf(value).map(pythonRepr);
      return `(${items.join(", ")}${items.length === 1 ? "," : ""})`;
    }
    case "ObjectValue": {
      const entries = value.value instanceof Map ? [...value.value] : [];
      const parts = entries.map(
        ([key, item]: [string, RuntimeValue]) => `${stringRepr(key)}: ${pythonRepr(item)}`,
      );
      return `{${parts.join(", ")}}`;
    }
    default:
      return value.toString();
  }
}

function itemsOf(value: RuntimeValue): readonly RuntimeValue[] {
  return Array.isArray(value.value) ? value.value : [];
}

const ESCAPES: Readonly<Record<string, string>> = {
  "\\": "\\\\",
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
};

/** Single quotes unless the text has some and no double ones; what cannot be printed is escaped. */
function stringRepr(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  const body = text.replace(
    /[\\\n\r\t']|[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}\p{Cs}]|(?! )\p{Zs}/gu,
    (character) => {
      if (character === "'") return quote === "'" ? "\\'" : "'";
      return ESCAPES[character] ?? escapeOf(character.codePointAt(0) ?? 0);
    },
  );
  return `${quote}${body}${quote}`;
}

function escapeOf(code: number): string {
  const digits = (length: number) => code.toString(16).padStart(length, "0");
  if (code < 0x100) return `\\x${digits(2)}`;
  return code < 0x1_0000 ? `\\u${digits(4)}` : `\\U${digits(8)}`;
}
