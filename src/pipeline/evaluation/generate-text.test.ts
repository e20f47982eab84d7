import { describe, expect, it, vi } from "vitest";
import type { OpenTokenizer } from "../inspect/tokenizer-worker.ts";
import type { GenerationOptions } from "../../api/evaluator-api.ts";
import type { Engine, EngineOptions } from "../../evaluate/runtime/engine.ts";
import { createEngineOpener } from "./engine-opener.ts";
import { generateText } from "./generate-text.ts";
import type { OpenStoredModel } from "./open-stored-model.ts";

/** A token for each letter. */
const LETTERS: OpenTokenizer = {
  encode: async (text) =>
    await Promise.resolve(Uint32Array.from(text, (letter) => letter.codePointAt(0) ?? 0)),
  encodeChat: async ({ messages }) => {
    const [message] = messages;
    return await LETTERS.encode(`<user>${typeof message?.content === "string" ? message.content : ""}`);
  },
  decode: async (ids) => await Promise.resolve(String.fromCodePoint(...ids)),
  hasChatTemplate: true,
  [Symbol.dispose]: () => undefined,
};

const NONE_WANTED = async () => await Promise.reject<Engine>(new Error("none is wanted"));

async function generate(
  tokenizer: OpenTokenizer | null,
  own: Partial<GenerationOptions>,
  engines = createEngineOpener(NONE_WANTED),
) {
  const source = { label: "tiny" };
  const model = { tokenizer, summary: { source, maxPositions: 8 } } as OpenStoredModel;
  const options: GenerationOptions = {
    prompt: "a",
    chat: false,
    maxTokens: 4,
    temperature: 0,
    top_p: 1,
    seed: 0,
    provider: "wasm",
    gpuBudgetBytes: 2 ** 20,
    ...own,
  };
  const { signal } = new AbortController();
  return await generateText({ engines, model, options, signal, onUpdate: () => undefined });
}

describe("a prompt", () => {
  it("is refused in words where the model has no tokenizer", async () => {
    await expect(generate(null, {})).rejects.toThrow(
      "There is no tokenizer.json in tiny, so that a prompt cannot be turned into its tokens.",
    );
  });

  it("is refused in words when it is empty", async () => {
    await expect(generate(LETTERS, { prompt: "" })).rejects.toThrow("The prompt is empty.");
  });

  it("is refused in words when it is longer than the model sees, the chat template counted", async () => {
    await expect(generate(LETTERS, { prompt: "0123456789" })).rejects.toThrow(
      "The prompt has 10 tokens; this model sees 8 at most. Shorten it.",
    );
    await expect(generate(LETTERS, { prompt: "abc", chat: true })).rejects.toThrow("has 9 tokens");
  });

  it("leaves the engine to the next one where it is refused", async () => {
    const open = vi.fn<(options: EngineOptions) => Promise<Engine>>(
      async () => await new Promise(() => undefined),
    );
    const engines = createEngineOpener(open);
    await expect(generate(LETTERS, { prompt: "" }, engines)).rejects.toThrow("The prompt is empty.");
    await expect(generate(null, {}, engines)).rejects.toThrow("There is no tokenizer.json");
    expect(open).toHaveBeenCalledOnce();
  });
});
