import { describe, expect, it } from "vitest";
import { parseRow } from "./parse-row.ts";

const user = (content: unknown) => ({ role: "user", content });
const assistant = (content: unknown) => ({ role: "assistant", content });
const where = "a.jsonl, line 3";
const parse = (row: unknown, column: string | null = null) => parseRow(`${where},`, row, column);
const conversation = (messages: readonly unknown[], tools: unknown = null) => ({
  kind: "messages",
  messages,
  tools,
  where,
});
const CALL = { id: "c1", type: "function", function: { name: "f", arguments: '{"a": 1}' } };

describe("parseRow", () => {
  it.each([
    ["text", { text: "a" }, { kind: "text", text: "a", where }],
    ["a text by itself", "a", { kind: "text", text: "a", where }],
    ["token ids", { input_ids: [1, 2] }, { kind: "ids", ids: [1, 2], where }],
    ["a list of ids by itself", [1, 2], { kind: "ids", ids: [1, 2], where }],
    ["messages", { messages: [user("a")], text: "b" }, conversation([user("a")])],
    ["messages by themselves", [user("a")], conversation([user("a")])],
    [
      "content as parts",
      { messages: [user([{ type: "text", text: "a" }, "b"])] },
      conversation([
        user([
          { type: "text", text: "a" },
          { type: "text", text: "b" },
        ]),
      ]),
    ],
    [
      "content that is null beside calls",
      {
        messages: [
          user("a"),
          { ...assistant(null), tool_calls: [CALL] },
          { role: "tool", tool_call_id: "c1", content: "b" },
        ],
      },
      conversation([
        user("a"),
        { ...assistant(null), tool_calls: [CALL] },
        { role: "tool", content: "b", tool_call_id: "c1" },
      ]),
    ],
    [
      "fields that are null in a table",
      { messages: [{ ...user("a"), tool_calls: null, name: null }], tools: null },
      conversation([user("a")]),
    ],
    ["tools", { messages: [user("a")], tools: [{ name: "f" }] }, conversation([user("a")], [{ name: "f" }])],
    [
      "tools as JSON text",
      { messages: [user("a")], tools: '[{"name": "f"}]' },
      conversation([user("a")], [{ name: "f" }]),
    ],
    ["no tools in a list", { messages: [user("a")], tools: [] }, conversation([user("a")])],
    [
      "ShareGPT's conversations",
      {
        system: "s",
        conversations: [
          { from: "human", value: "a" },
          { from: "gpt", value: "b" },
        ],
      },
      conversation([{ role: "system", content: "s" }, user("a"), assistant("b")]),
    ],
    [
      "ShareGPT's function calls",
      {
        conversations: [
          { from: "human", value: "a" },
          { from: "function_call", value: '{"name": "f", "arguments": {"a": 1}}' },
          { from: "observation", value: "b" },
        ],
      },
      conversation([
        user("a"),
        {
          ...assistant(null),
          tool_calls: [{ type: "function", function: { name: "f", arguments: { a: 1 } } }],
        },
        { role: "tool", content: "b" },
      ]),
    ],
    [
      "an Alpaca row",
      { instruction: "a", input: "", output: "b" },
      conversation([user("a"), assistant("b")]),
    ],
    [
      "an Alpaca row with input, system and history",
      { instruction: "a", input: "x", output: "b", system: "s", history: [["c", "d"]] },
      conversation([
        { role: "system", content: "s" },
        user("c"),
        assistant("d"),
        user("a\n\nx"),
        assistant("b"),
      ]),
    ],
    ["prompt and completion", { prompt: "a", completion: "b" }, conversation([user("a"), assistant("b")])],
    [
      "prompt and completion as messages",
      { prompt: [user("a")], completion: [assistant("b")] },
      conversation([user("a"), assistant("b")]),
    ],
    ["question and answer", { question: "a", answer: "b" }, conversation([user("a"), assistant("b")])],
  ])("reads %s", (_, row, sample) => {
    expect(parse(row)).toEqual(sample);
  });

  it.each([
    [{ text: null }],
    [{ text: " " }],
    [{ messages: [] }],
    [{ messages: null, text: null }],
    [null],
    [[]],
    [""],
  ])("finds nothing in %j", (row) => {
    expect(parse(row)).toBeNull();
  });

  it.each([
    [{ body: "a" }, `${where}, has neither "text" nor "messages"`],
    [{ messages: "a" }, "its messages are not a list"],
    [{ messages: [{ content: "a" }] }, `${where}, message 1 has no role`],
    [{ messages: [user("a"), assistant(null)] }, "message 2 (assistant) has no content, and no tool_calls"],
    [{ messages: [user({ a: 1 })] }, "neither text nor a list of parts"],
    [
      { messages: [user([{ type: "image_url", image_url: {} }])] },
      'a part of the type "image_url": calibration takes text alone',
    ],
    [{ conversations: [{ from: "narrator", value: "a" }] }, 'message 1 is from "narrator"'],
    [{ conversations: [{ from: "human", value: null }] }, "has no value that is text"],
    [{ messages: [user("a")], tools: "f(x)" }, "tools is not valid JSON"],
    [{ input_ids: [1, -2] }, "not token ids"],
    [[1.5], "not token ids"],
    [7, "neither text, nor a list of token ids"],
  ])("refuses %j", (row, sentence) => {
    expect(() => parse(row)).toThrow(sentence);
  });

  it("takes the column that is named, and the tools beside it", () => {
    const row = { prompt: "p", chat: [user("c")], tokens: [5, 6], tools: [{ name: "f" }], text: "no" };
    expect(parse(row, "prompt")).toEqual({ kind: "text", text: "p", where });
    expect(parse(row, "chat")).toEqual(conversation([user("c")], [{ name: "f" }]));
    expect(parse(row, "tokens")).toEqual({ kind: "ids", ids: [5, 6], where });
    expect(parse({ prompt: null }, "prompt")).toBeNull();
    expect(() => parse(row, "body")).toThrow("prompt, chat, tokens");
    expect(() => parse(row, "constructor")).toThrow('no column "constructor"');
  });
});
