import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { parseSamples } from "./parse-samples.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const parse = async (name: string, text: string, column: string | null = null) =>
  await parseSamples(name, bytes(text), column);
const file = (name: string) => new Uint8Array(readFileSync(`${import.meta.dirname}/fixtures/${name}`));

async function texts(name: string, text: string): Promise<unknown[]> {
  const { samples } = await parse(name, text);
  return samples.map((sample) => (sample.kind === "text" ? sample.text : sample.kind));
}

describe("parseSamples", () => {
  it("reads plain text by lines, or by paragraphs where there are any", async () => {
    expect((await parse("a.txt", "one\ntwo\n")).samples).toEqual([
      { kind: "text", text: "one", where: "a.txt, line 1" },
      { kind: "text", text: "two", where: "a.txt, line 2" },
    ]);
    expect(await texts("a.txt", "one\nmore\n\ntwo")).toEqual(["one\nmore", "two"]);
    expect(await texts("a.txt", "one\r\nmore\r\n\r\ntwo")).toEqual(["one\r\nmore", "two"]);
  });

  it("reads JSONL with text, messages and input_ids, and says where each stands", async () => {
    const text = '{"text":"a"}\r\n\r\n{"messages":[{"role":"user","content":"b"}]}\n{"input_ids":[1,2]}';
    const { samples } = await parse("a.jsonl", text);
    expect(samples.map(({ kind, where }) => [kind, where])).toEqual([
      ["text", "a.jsonl, line 1"],
      ["messages", "a.jsonl, line 3"],
      ["ids", "a.jsonl, line 4"],
    ]);
  });

  it("reads token ids as JSON in three forms", async () => {
    for (const text of [
      "[[1,2],[3]]",
      '{"input_ids":[[1,2],[3]]}',
      '[{"input_ids":[1,2]},{"input_ids":[3]}]',
    ]) {
      const { samples } = await parse("ids.json", text);
      expect(samples.map((sample) => sample.kind === "ids" && sample.ids)).toEqual([[1, 2], [3]]);
    }
  });

  it.each([
    ["a list of rows", '[\n {"text": "a"},\n {"text": "b"}\n]'],
    ["a list of texts", '["a", "b"]'],
    ["columns", '{"text": ["a", "b"]}'],
    ["rows in a wrapper", '{"data": [{"text": "a"}, {"text": "b"}]}'],
    [
      "the rows service's answer",
      '{"features": [], "rows": [{"row": {"text": "a"}}, {"row": {"text": "b"}}]}',
    ],
    ["numbers that Python writes", '{"text": "a", "score": NaN}\n{"text": "b", "score": Infinity}'],
  ])("reads %s", async (_, text) => {
    expect(await texts("a.json", text)).toEqual(["a", "b"]);
  });

  it("takes one row, and one conversation, for what they are", async () => {
    expect(await texts("a.json", '{\n "text": "a"\n}')).toEqual(["a"]);
    const { samples } = await parse(
      "a.json",
      '[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]',
    );
    expect(samples).toHaveLength(1);
    expect(samples[0]).toMatchObject({ kind: "messages", messages: { length: 2 } });
  });

  it("reads text that begins with a bracket and is no JSON as text, and says so", async () => {
    for (const text of [
      "[INST] Who? [/INST] Ada.\n\nTwo",
      "{{user}}: Who?\n\nTwo",
      "[1] A footnote.\n[2] Another.",
    ]) {
      const { samples, notes } = await parse("a.txt", text);
      expect(samples.map(({ kind }) => kind)).toEqual(["text", "text"]);
      expect(notes).toEqual([
        expect.stringMatching(/begins with “[[{]”, but is not JSON: it is read as plain text/),
      ]);
    }
    await expect(parse("a.json", "[INST] Who?")).rejects.toThrow("a.json is not valid JSON");
    await expect(parse("a.jsonl", "{'text': 'a'}\n")).rejects.toThrow("a.jsonl, line 1, is not valid JSON");
  });

  it("leaves empty rows out, and says how many", async () => {
    const { samples, notes } = await parse(
      "a.jsonl",
      '{"text":"a"}\n{"text":null}\n{"text":""}\n\n{"text":"b"}',
    );
    expect(samples).toHaveLength(2);
    expect(notes).toEqual(["a.jsonl: 2 of 4 samples are empty and left out."]);
    await expect(parse("a.jsonl", '{"text":null}')).rejects.toThrow(
      "none of its 1 samples has anything in it",
    );
    await expect(parse("a.json", "[]")).rejects.toThrow("a.json is empty");
  });

  it("names the file and the line that it cannot read", async () => {
    await expect(parse("a.txt", "  \n")).rejects.toThrow("a.txt is empty");
    await expect(parse("a.jsonl", '{"text":"a"}\n{"text":')).rejects.toThrow(
      "a.jsonl, line 2, is not valid JSON",
    );
    await expect(parse("a.jsonl", '{"body":"a"}')).rejects.toThrow('a.jsonl, line 1, has neither "text"');
    await expect(parse("a.json", "[[1,-2]]")).rejects.toThrow("not token ids");
    await expect(parse("a.csv", "text,score\nAda,1")).rejects.toThrow("a table of separated values");
  });

  it("takes a column of JSONL, and refuses one of plain text", async () => {
    const { samples } = await parse("a.jsonl", '{"story":"a","text":"no"}', "story");
    expect(samples).toEqual([{ kind: "text", text: "a", where: "a.jsonl, line 1" }]);
    await expect(parse("a.txt", "one\ntwo", "story")).rejects.toThrow(
      'a.txt is plain text: it has no column "story"',
    );
  });

  it("unpacks gzip, and names what else a file is", async () => {
    const packed = new Uint8Array(gzipSync('{"text":"a"}\n{"text":"b"}'));
    expect((await parseSamples("rows", packed)).samples).toHaveLength(2);
    expect((await parseSamples("rows.txt", new Uint8Array(gzipSync(packed)))).samples).toHaveLength(2);
    await expect(parseSamples("a.gz", packed.slice(0, 20))).rejects.toThrow("cannot be unpacked");
    const head = (...values: number[]) => Uint8Array.of(...values, 0, 1, 2, 3, 4, 5, 6, 7);
    await expect(parseSamples("a.jsonl", head(0x28, 0xb5, 0x2f, 0xfd))).rejects.toThrow(
      "a.jsonl is zstd-compressed, which is not read here. Unpack it first.",
    );
    await expect(parseSamples("a.txt", head(0x50, 0x4b, 3, 4))).rejects.toThrow("a ZIP archive");
    await expect(parseSamples("a.txt", bytes("%PDF-1.7\n"))).rejects.toThrow("a PDF");
    const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${"0".repeat(64)}\nsize 9\n`;
    await expect(parse("a.txt", pointer)).rejects.toThrow("a.txt is a Git LFS pointer");
    expect(await texts("a.txt", "BZh is how bzip2 begins.\nORC is a monster.")).toHaveLength(2);
  });
});

describe("Parquet", () => {
  it("is read whatever its name, without rows that are null", async () => {
    const { samples, notes } = await parseSamples("rows.bin", file("text.parquet"));
    expect(samples).toHaveLength(40);
    expect(samples[39]).toEqual({
      kind: "text",
      text: "Ada walked to the hill, 39 times — naïve café.",
      where: "rows.bin, row 40",
    });
    expect(notes).toEqual(["rows.bin: 1 of 41 samples are empty and left out."]);
  });

  it("gives conversations with calls and tools, and 64-bit ids as numbers", async () => {
    const { samples } = await parseSamples("chats.parquet", file("chats.parquet"));
    const call = { id: "c1", type: "function", function: { name: "weather", arguments: '{"city": "Oslo"}' } };
    expect(samples[0]).toEqual({
      kind: "messages",
      messages: [
        { role: "user", content: "Rain?" },
        { role: "assistant", content: null, tool_calls: [call] },
      ],
      tools: [{ name: "weather" }],
      where: "chats.parquet, row 1",
    });
    const ids = await parseSamples("ids.parquet", file("ids.parquet"));
    expect(ids.samples.map((sample) => sample.kind === "ids" && sample.ids)).toEqual([[5, 6, 2 ** 40], [7]]);
  });

  it("reads the named column, or says which there are", async () => {
    const { samples } = await parseSamples("c.parquet", file("chats.parquet"), "body");
    expect(samples.map((sample) => sample.kind === "text" && sample.text)).toEqual(["b", "c"]);
    await expect(parseSamples("c.parquet", file("chats.parquet"), "story")).rejects.toThrow(
      'c.parquet has no column "story". Its columns are messages, tools, body.',
    );
  });

  it("refuses codecs that it has not, and damaged files", async () => {
    await expect(parseSamples("z.parquet", file("zstd.parquet"))).rejects.toThrow(
      "z.parquet is a Parquet file compressed with ZSTD, which is not unpacked here",
    );
    await expect(parseSamples("t.parquet", file("text.parquet").slice(0, 900))).rejects.toThrow(
      "t.parquet is a Parquet file that cannot be read",
    );
  });
});
