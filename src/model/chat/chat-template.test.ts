import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { loadTokenizer } from "../tokenizer/tokenizer.ts";
import { chatTemplate } from "./chat-template.ts";
import type { ChatMessage, Conversation } from "./conversation.ts";

const read = (path: string) => readFileSync(path, "utf8");
const FIXTURES = "src/model/chat/fixtures";

type Given = Omit<Conversation, "tools"> & { tools?: readonly object[]; add_generation_prompt?: boolean };
type Written = { readonly ids: readonly number[] } | { readonly refused: string } | { readonly fails: true };

const conversations: Readonly<Record<string, Given>> = JSON.parse(read(`${FIXTURES}/conversations.json`));
const reference: { families: Readonly<Record<string, Readonly<Record<string, Written>>>> } = JSON.parse(
  read(`${FIXTURES}/reference.json`),
);
const CASES = Object.entries(reference.families).flatMap(([family, rows]) =>
  Object.entries(rows).map(([name, written]) => ({ family, name, written })),
);

function tokenizerOf(family: string) {
  const bytes = (path: string) => new Uint8Array(readFileSync(path));
  const chatTemplates = new Map([["default", bytes(`${FIXTURES}/${family}.jinja`)]]);
  if (family === "hermes") chatTemplates.set("tool_use", bytes(`${FIXTURES}/${family}.tool_use.jinja`));
  return loadTokenizer({
    tokenizerJson: bytes("public/sample/tokenizer.json"),
    tokenizerConfig: bytes("public/sample/tokenizer_config.json"),
    chatTemplates,
    processorTemplate: null,
  });
}

describe("templates in the manner of six families", () => {
  it.each(CASES)("$family, $name: as transformers' apply_chat_template", ({ family, name, written }) => {
    const tokenizer = tokenizerOf(family);
    const { messages, tools = null, add_generation_prompt = false } = conversations[name] ?? { messages: [] };
    expect(outcomeOf(() => tokenizer.encodeChat({ messages, tools }, add_generation_prompt))).toEqual(
      expected(written),
    );
  });
});

function outcomeOf(encode: () => Uint32Array): unknown {
  try {
    return { ids: [...encode()] };
  } catch (error) {
    return { says: String(error) };
  }
}

function expected(written: Written): unknown {
  if ("ids" in written) return written;
  const words =
    "refused" in written
      ? `refuses this conversation: “${written.refused}”`
      : "cannot write this conversation";
  return { says: expect.stringContaining(words) };
}

const write = (template: string, messages: readonly ChatMessage[], tools: Conversation["tools"] = null) =>
  chatTemplate(new Map([["default", template]]), { bos_token: "<s>" }).render(
    { messages, tools },
    false,
    "a.jsonl, line 3",
  );
const HELLO = [{ role: "user", content: "Hello" }] as const;
const LOOP = "{% for m in messages %}{{ m.content }}{% endfor %}";

describe("chat templates", () => {
  it("find no tools to be none, not undefined", () => {
    expect(write("{% if tools is none and documents is none %}none{% endif %}", HELLO)).toBe("none");
    expect(write("{% if tools is not none %}{{ tools[0].name }}{% endif %}", HELLO, [{ name: "x" }])).toBe(
      "x",
    );
  });

  it("print values as Python does", () => {
    const message = { role: "assistant", content: null, tool_calls: [{ a: true, b: "it's", c: null, d: 1 }] };
    expect(write("{% for m in messages %}{{ m.content }} {{ m.tool_calls }}{% endfor %}", [message])).toBe(
      `None [{'a': True, 'b': "it's", 'c': None, 'd': 1}]`,
    );
    expect(write("{{ 4 / 2 }} {{ true }} {{ missing }}{% set x = none %}", HELLO)).toBe("2.0 True ");
  });

  it("get contents in parts as text where they take text, and text as parts where they take parts", () => {
    const parts = [
      {
        role: "user",
        content: [
          { type: "text", text: "a" },
          { type: "text", text: "b" },
        ],
      },
    ];
    const partsOnly =
      "{% for m in messages %}{% for c in m.content %}{% if c.type == 'text' %}{{ c.text }};{% endif %}{% endfor %}{% endfor %}";
    expect(write(LOOP, parts)).toBe("a\nb");
    expect(write(partsOnly, parts)).toBe("a;b;");
    expect(write(partsOnly, HELLO)).toBe("Hello;");
  });

  it("tell a refusal in the template's own words, and what to do", () => {
    expect(() => write("{{ raise_exception('No system role') }}", HELLO)).toThrow(
      /^a\.jsonl, line 3: the model's chat template refuses this conversation: “No system role”\. Change or leave out/,
    );
    expect(() => write("{{ range(99999999) }}", HELLO)).toThrow(/cannot write this conversation/);
  });

  it("need a default among several", () => {
    const several = chatTemplate(new Map([["rag", LOOP]]), {});
    expect(() => several.render({ messages: HELLO, tools: null }, false, "x")).toThrow(
      /none that is the default/,
    );
  });
});
