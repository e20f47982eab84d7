// Files as people bring them, made up: what each becomes, or the sentence that it is refused with. Nothing is calibrated on
// that was meant otherwise.

import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { parseSamples } from "./parse-samples.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const utf16 = (text: string, littleEndian: boolean) => {
  const data = new DataView(new ArrayBuffer(2 * text.length + 2));
  [0xfeff, ...Array.from(text, (one) => one.charCodeAt(0))].forEach((code, index) =>
    data.setUint16(2 * index, code, littleEndian),
  );
  return new Uint8Array(data.buffer);
};
const lines = (...rows: readonly unknown[]) => rows.map((row) => `${JSON.stringify(row)}\n`).join("");
const user = (content: unknown) => ({ role: "user", content });
const assistant = (content: unknown) => ({ role: "assistant", content });
const weather = { name: "weather", arguments: { city: "Oslo" } };

type Content = string | Uint8Array<ArrayBuffer>;
const read = async (name: string, content: Content) =>
  await parseSamples(name, typeof content === "string" ? bytes(content) : content);

describe("a file that somebody brings", () => {
  it.each<[string, string, Content, readonly unknown[], readonly string[]]>([
    [
      "JSONL in UTF-16 inside of gzip",
      "rows.jsonl.gz",
      new Uint8Array(gzipSync(utf16(lines({ text: "naïve" }, { text: "b" }), true))),
      ["naïve", "b"],
      [],
    ],
    [
      "text in big-endian UTF-16",
      "a.txt",
      utf16("ein Satz\n\nnoch einer", false),
      ["ein Satz", "noch einer"],
      [],
    ],
    ["JSONL of texts", "a.jsonl", lines("one", 'two "quoted"'), ["one", 'two "quoted"'], []],
    ["JSONL of one text", "a.jsonl", '"one\\ntwo"', ["one\ntwo"], []],
    [
      "JSONL with the separators of lines that only JavaScript knows",
      "a.jsonl",
      '{"text":"a\u2028b"}\n{"text":"c"}\n',
      ["a\u2028b", "c"],
      [],
    ],
    [
      "ShareGPT with a system turn, a call and what came of it",
      "a.jsonl",
      lines({
        conversations: [
          { from: "system", value: "Be kind." },
          { from: "human", value: "Rain?" },
          { from: "function_call", value: JSON.stringify(weather) },
          { from: "observation", value: "rain" },
          { from: "gpt", value: "Yes." },
        ],
        tools: JSON.stringify([{ name: "weather" }]),
      }),
      [
        [
          { role: "system", content: "Be kind." },
          user("Rain?"),
          { ...assistant(null), tool_calls: [{ type: "function", function: weather }] },
          { role: "tool", content: "rain" },
          assistant("Yes."),
        ],
      ],
      [],
    ],
    [
      "contents as parts, null fields of other turns beside them",
      "a.jsonl",
      lines({
        messages: [
          { ...user([{ type: "text", text: "Hi" }, "there"]), name: null, tool_calls: null },
          { ...assistant(null), tool_calls: [{ function: weather }], tool_call_id: null },
        ],
      }),
      [
        [
          user([
            { type: "text", text: "Hi" },
            { type: "text", text: "there" },
          ]),
          { ...assistant(null), tool_calls: [{ function: weather }] },
        ],
      ],
      [],
    ],
    [
      "Alpaca rows, one without an answer",
      "alpaca.json",
      JSON.stringify([
        { instruction: "Add.", input: "1 and 2", output: "3" },
        { instruction: "Wait.", input: "", output: "" },
      ]),
      [[user("Add.\n\n1 and 2"), assistant("3")]],
      ["alpaca.json: 1 of 2 samples are empty and left out."],
    ],
    [
      "questions with a system prompt beside them",
      "orca.jsonl",
      lines({ id: "1", system_prompt: "Think.", question: "Why?", response: "So." }),
      [[{ role: "system", content: "Think." }, user("Why?"), assistant("So.")]],
      [],
    ],
    [
      "rows of two kinds, each with the other's fields empty",
      "mixed.jsonl",
      lines({ messages: [], text: "a" }, { messages: [user("b")], text: "" }, { messages: null, text: "c" }),
      ["a", [user("b")], "c"],
      [],
    ],
    [
      "a chat log that begins with a bracket",
      "log.txt",
      "[12:01] Ada: Rain?\n[12:02] Bob: Yes.",
      ["[12:01] Ada: Rain?", "[12:02] Bob: Yes."],
      ["log.txt begins with “[”, but is not JSON: it is read as plain text."],
    ],
  ])("is read: %s", async (_, name, content, expected, notes) => {
    const found = await read(name, content);
    const shown = found.samples.map((sample) =>
      sample.kind === "text" ? sample.text : sample.kind === "messages" ? sample.messages : sample.ids,
    );
    expect(shown).toEqual(expected);
    expect(found.notes).toEqual(notes);
  });

  it.each<[string, string, Content, string]>([
    [
      "JSONL below a comment",
      "a.jsonl",
      `# made by hand\n${lines({ text: "a" })}`,
      "a.jsonl, line 1, is not valid JSON",
    ],
    ["JSON below a comment", "a.json", `// rows\n[{"text": "a"}]`, "a.json is not valid JSON"],
    [
      "plain text that is called JSONL",
      "a.jsonl",
      "Once upon a time\nthere was",
      "a.jsonl, line 1, is not valid JSON",
    ],
    [
      "objects one after the other",
      "a.json",
      '{\n "text": "a"\n}\n{\n "text": "b"\n}\n',
      "a.json is not valid JSON",
    ],
    [
      "JSONL that is cut off",
      "a.jsonl",
      `${lines({ text: "a" })}{"text": "b`,
      "a.jsonl, line 2, is not valid JSON",
    ],
    [
      "JSONL with commas behind its rows",
      "a.jsonl",
      '{"text":"a"},\n{"text":"b"},\n',
      "a.jsonl, line 1, is not valid JSON",
    ],
    [
      "content that is null without a call",
      "a.jsonl",
      lines({ messages: [user("a"), assistant(null)] }),
      "a.jsonl, line 1, message 2 (assistant) has no content",
    ],
    [
      "a part that is a picture",
      "a.jsonl",
      lines({ messages: [user([{ type: "image_url", image_url: { url: "x" } }])] }),
      'a.jsonl, line 1, message 1 has a part of the type "image_url"',
    ],
    [
      "somebody in ShareGPT whom nobody knows",
      "a.json",
      JSON.stringify([{ conversations: [{ from: "narrator", value: "a" }] }]),
      'a.json, entry 1, message 1 is from "narrator"',
    ],
    [
      "messages as a text",
      "a.jsonl",
      lines({ messages: JSON.stringify([user("a")]) }),
      "its messages are not a list of messages",
    ],
    ["UTF-16 without a mark", "a.txt", utf16("plain", true).slice(2), "UTF-16 without a byte-order mark"],
    [
      "Latin-1",
      "a.txt",
      Uint8Array.from("caf\xe9 noir", (one) => one.charCodeAt(0)),
      "a.txt is not text in UTF-8: the byte at offset 3 (0xe9)",
    ],
  ])("is refused: %s", async (_, name, content, sentence) => {
    await expect(read(name, content)).rejects.toThrow(sentence);
  });
});
