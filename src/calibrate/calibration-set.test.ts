import { describe, expect, it } from "vitest";
import { CalibrationError } from "../errors.ts";
import type { ModelTokenizer } from "../model/tokenizer/model-tokenizer.ts";
import type { Sample } from "./samples/sample.ts";
import { selectSequences, shuffled } from "./select-sequences.ts";

const lines = (...texts: string[]): Sample[] =>
  texts.map((text, index) => ({ kind: "text", text, where: `a.txt, line ${index + 1}` }));

/** One id per character. */
const letters: ModelTokenizer = {
  encode: async (text) => await Promise.resolve(Uint32Array.from(text, (letter) => letter.charCodeAt(0))),
  encodeChat: async ({ messages }, _, where) => {
    if (messages[0]?.role === "system") throw new CalibrationError(`${where}: no system`);
    return await Promise.resolve(Uint32Array.from(messages, ({ role }) => role.length));
  },
  decode: async () => await Promise.resolve(""),
  hasChatTemplate: true,
};

const options = {
  num_calibration_samples: 8,
  max_seq_length: 4,
  shuffle_calibration_samples: false,
  seed: 42,
};

describe("selectSequences", () => {
  it("cuts at max_seq_length, leaves out what is too short and never pads", async () => {
    const samples = lines("abcdef", "x", "ab");
    const set = await selectSequences(samples, letters, 256, options);
    expect(set.sequences.map(({ length }) => length)).toEqual([4, 2]);
    expect(set.tokens).toBe(6);
    expect(set.notes.join(" ")).toMatch(/1 samples were too short/);
  });

  it("takes as many as are asked for, in an order that the seed decides", async () => {
    const samples = lines(...Array.from({ length: 26 }, (_, i) => `${i}${i}`));
    const chosen = { ...options, num_calibration_samples: 5, shuffle_calibration_samples: true };
    const first = await selectSequences(samples, letters, 256, chosen);
    expect(first.sequences).toHaveLength(5);
    expect((await selectSequences(samples, letters, 256, chosen)).sequences).toEqual(first.sequences);
    expect((await selectSequences(samples, letters, 256, { ...chosen, seed: 43 })).sequences).not.toEqual(
      first.sequences,
    );
  });

  it("tells the template which sample it writes", async () => {
    const messages = [{ role: "system", content: "s" }];
    const sample: Sample = { kind: "messages", messages, tools: null, where: "a.jsonl, line 7" };
    await expect(selectSequences([sample], letters, 256, options)).rejects.toThrow(
      "a.jsonl, line 7: no system",
    );
  });

  it("refuses ids outside the vocabulary, text without a tokenizer, and nothing at all", async () => {
    const samples = lines("zz");
    await expect(selectSequences(samples, letters, 100, options)).rejects.toThrow(
      "Token id 122 lies outside",
    );
    for (const id of [2 ** 32 + 1, -1, 1.5]) {
      const wrapped = [{ kind: "ids", ids: [1, id], where: "ids.json" } as const];
      for (const vocabulary of [256, Number.MAX_SAFE_INTEGER]) {
        await expect(selectSequences(wrapped, null, vocabulary, options)).rejects.toThrow(
          `Token id ${id} lies outside`,
        );
      }
    }
    await expect(selectSequences(samples, null, 256, options)).rejects.toThrow("no tokenizer.json");
    await expect(
      selectSequences([{ kind: "ids", ids: [1], where: "ids.json" }], null, 256, options),
    ).rejects.toThrow("2 tokens or more");
  });
});

describe("shuffled", () => {
  it("keeps every item", () => {
    expect(shuffled([1, 2, 3, 4, 5], 1).toSorted((a, b) => a - b)).toEqual([1, 2, 3, 4, 5]);
  });
});
