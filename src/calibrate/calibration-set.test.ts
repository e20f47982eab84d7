import { describe, expect, it } from "vitest";
import type { ModelTokenizer } from "../model/tokenizer.ts";
import { parseRow, parseSamples } from "./parse-samples.ts";
import { selectSequences, shuffled } from "./select-sequences.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

/** One id per character. */
const letters: ModelTokenizer = {
  encode: (text) => Uint32Array.from(text, (letter) => letter.charCodeAt(0)),
  encodeChat: (messages) => Uint32Array.from(messages.map(({ content }) => content.length)),
  decode: () => "",
  hasChatTemplate: true,
};

const options = {
  num_calibration_samples: 8,
  max_seq_length: 4,
  shuffle_calibration_samples: false,
  seed: 42,
};

describe("parseSamples", () => {
  it("reads plain text by lines, or by paragraphs where there are any", () => {
    expect(parseSamples("a.txt", bytes("one\ntwo\n"))).toEqual([
      { kind: "text", text: "one" },
      { kind: "text", text: "two" },
    ]);
    expect(parseSamples("a.txt", bytes("one\nmore\n\ntwo"))).toHaveLength(2);
  });

  it("reads JSONL with text, messages and input_ids", () => {
    const text = '{"text":"a"}\n\n{"messages":[{"role":"user","content":"b"}]}\n{"input_ids":[1,2]}';
    expect(parseSamples("a.jsonl", bytes(text)).map(({ kind }) => kind)).toEqual(["text", "messages", "ids"]);
  });

  it("reads token ids as JSON in three forms", () => {
    for (const text of [
      "[[1,2],[3]]",
      '{"input_ids":[[1,2],[3]]}',
      '[{"input_ids":[1,2]},{"input_ids":[3]}]',
    ]) {
      expect(parseSamples("ids.json", bytes(text))).toEqual([
        { kind: "ids", ids: [1, 2] },
        { kind: "ids", ids: [3] },
      ]);
    }
  });

  it("names the file and the line that it cannot read", () => {
    expect(() => parseSamples("a.txt", bytes("  \n"))).toThrow("a.txt is empty");
    expect(() => parseSamples("a.jsonl", bytes('{"text":"a"}\n{"text":'))).toThrow(
      "a.jsonl, line 2, is not valid JSON",
    );
    expect(() => parseSamples("a.jsonl", bytes('{"body":"a"}'))).toThrow("line 1");
    expect(() => parseSamples("a.json", bytes("[[1,-2]]"))).toThrow("not token ids");
  });

  it("takes the named column of a data set's row", () => {
    const row = { prompt: "p", chat: [{ role: "user", content: "c" }], tokens: [5, 6] };
    expect(parseRow("row 1", row, "prompt")).toEqual({ kind: "text", text: "p" });
    expect(parseRow("row 1", row, "chat").kind).toBe("messages");
    expect(parseRow("row 1", row, "tokens")).toEqual({ kind: "ids", ids: [5, 6] });
    expect(() => parseRow("row 1", row, "body")).toThrow("prompt, chat, tokens");
  });
});

describe("selectSequences", () => {
  it("cuts at max_seq_length, leaves out what is too short and never pads", () => {
    const samples = parseSamples("a.txt", bytes("abcdef\nx\nab"));
    const set = selectSequences(samples, letters, 256, options);
    expect(set.sequences.map(({ length }) => length)).toEqual([4, 2]);
    expect(set.tokens).toBe(6);
    expect(set.notes.join(" ")).toMatch(/1 samples were too short/);
  });

  it("takes as many as are asked for, in an order that the seed decides", () => {
    const samples = parseSamples("a.txt", bytes(Array.from({ length: 26 }, (_, i) => `${i}${i}`).join("\n")));
    const chosen = { ...options, num_calibration_samples: 5, shuffle_calibration_samples: true };
    const first = selectSequences(samples, letters, 256, chosen);
    expect(first.sequences).toHaveLength(5);
    expect(selectSequences(samples, letters, 256, chosen).sequences).toEqual(first.sequences);
    expect(selectSequences(samples, letters, 256, { ...chosen, seed: 43 }).sequences).not.toEqual(
      first.sequences,
    );
  });

  it("refuses ids outside the vocabulary, text without a tokenizer, and nothing at all", () => {
    const samples = parseSamples("a.txt", bytes("zz"));
    expect(() => selectSequences(samples, letters, 100, options)).toThrow("Token id 122 lies outside");
    for (const id of [2 ** 32 + 1, -1, 1.5]) {
      const wrapped = [{ kind: "ids", ids: [1, id] } as const];
      for (const vocabulary of [256, Number.MAX_SAFE_INTEGER]) {
        expect(() => selectSequences(wrapped, null, vocabulary, options)).toThrow(
          `Token id ${id} lies outside`,
        );
      }
    }
    expect(() => selectSequences(samples, null, 256, options)).toThrow("no tokenizer.json");
    expect(() => selectSequences([{ kind: "ids", ids: [1] }], null, 256, options)).toThrow(
      "2 tokens or more",
    );
  });
});

describe("shuffled", () => {
  it("keeps every item", () => {
    expect(shuffled([1, 2, 3, 4, 5], 1).toSorted((a, b) => a - b)).toEqual([1, 2, 3, 4, 5]);
  });
});
