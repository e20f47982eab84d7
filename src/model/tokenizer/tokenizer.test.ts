import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { CalibrationError } from "../../errors.ts";
import { guardedTokenizer } from "./guarded-tokenizer.ts";
import { loadTokenizer } from "./tokenizer.ts";

const file = (name: string) => new Uint8Array(readFileSync(`public/sample/${name}`));
const bytes = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
const templates = (texts: Readonly<Record<string, string>>) =>
  new Map(Object.entries(texts).map(([name, text]) => [name, new TextEncoder().encode(text)]));
const saying = (content: string) => ({ messages: [{ role: "user", content }], tools: null });
const sample = {
  tokenizerJson: file("tokenizer.json"),
  tokenizerConfig: file("tokenizer_config.json"),
  chatTemplates: new Map<string, Uint8Array>(),
  processorTemplate: null,
};

describe("loadTokenizer", () => {
  it("gives the ids that transformers gives", () => {
    const tokenizer = loadTokenizer(sample);
    expect([...tokenizer.encode("Once upon a time, there was a shy hedgehog named Ada.")]).toEqual([
      0, 518, 517, 260, 346, 13, 328, 278, 260, 741, 947, 516, 635, 15,
    ]);
    expect([...tokenizer.encode("A stubborn 42nd\n  shepherd — naïve café")]).toEqual([
      0, 34, 803, 1066, 265, 200, 222, 940, 222, 160, 224, 244, 359, 129, 109, 408, 341, 71, 129, 104,
    ]);
  });

  it("decodes what it encoded", () => {
    const tokenizer = loadTokenizer(sample);
    const text = "A stubborn 42nd\n  shepherd — naïve café";
    expect(tokenizer.decode(tokenizer.encode(text), true)).toBe(text);
  });

  it("writes conversations through the chat template, without a second begin token", () => {
    const template = "{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}";
    const tokenizer = loadTokenizer({ ...sample, chatTemplates: templates({ default: template }) });
    const ids = tokenizer.encodeChat(saying("Hello"), false);
    expect(tokenizer.decode(ids)).toBe("<|bos|>user: Hello\n");
    expect(ids.filter((id) => id === 0)).toHaveLength(1);
  });

  it("takes the default of several named templates in tokenizer_config.json", () => {
    const chat_template = [
      { name: "tool_use", template: "no" },
      { name: "default", template: "{{ messages[0].content }}" },
    ];
    const tokenizer = loadTokenizer({ ...sample, tokenizerConfig: bytes({ chat_template }) });
    expect(tokenizer.decode(tokenizer.encodeChat(saying("yes"), false))).toBe("yes");
  });

  it("says that a model without chat template cannot take conversations", () => {
    const tokenizer = loadTokenizer(sample);
    expect(() => tokenizer.encodeChat(saying("x"), false)).toThrow(/no chat template/);
  });

  it("says what it failed on, whatever is thrown", () => {
    const template = "{{ messages[0].content.missing.field() }}";
    const tokenizer = loadTokenizer({ ...sample, chatTemplates: templates({ default: template }) });
    const failing = () => tokenizer.encodeChat(saying("Good morning"), false, "a.jsonl, line 1");
    expect(failing).toThrow(CalibrationError);
    expect(failing).toThrow(
      /a\.jsonl, line 1: the model's chat template cannot write this conversation: .* token ids as JSON/,
    );
    const broken = guardedTokenizer({
      encode: () => {
        throw new RangeError("Maximum call stack size exceeded");
      },
      decode: () => {
        throw "no";
      },
    });
    expect(() => broken.encode("Once upon", true)).toThrow(
      'The tokenizer (tokenizer.json) failed on the text "Once upon": Maximum call stack',
    );
    expect(() => broken.decode(Uint32Array.of(1, 2), false)).toThrow(
      /failed to write 2 token ids as text: no/,
    );
  });

  it.each([2 ** 32 + 1, -1, 0.5, undefined])("gives no ids that 32 bits would change: %s", (id) => {
    const wrapped = guardedTokenizer({
      encode: () => ({ ids: [1, id as number] }),
      decode: () => "",
    });
    expect(() => wrapped.encode("Once", true)).toThrow(/the text "Once" the token id .*, which is none/);
  });

  it("refuses files that are not what they should be", () => {
    expect(() => loadTokenizer({ ...sample, tokenizerJson: new TextEncoder().encode("{") })).toThrow(
      /not valid JSON/,
    );
    expect(() => loadTokenizer({ ...sample, tokenizerJson: bytes([1]) })).toThrow(/tokenizer\.json/);
    const whole = JSON.parse(new TextDecoder().decode(sample.tokenizerJson)) as object;
    const altered = (own: object) => () =>
      loadTokenizer({ ...sample, tokenizerJson: bytes({ ...whole, ...own }) });
    const next = "Download the file again, or give token ids as JSON instead of text.";
    for (const own of [{ added_tokens: 5 }, { model: null }])
      expect(altered(own)).toThrow(
        `tokenizer.json cannot be used: one of its parts is missing, or is not of the right kind. ${next}`,
      );
    expect(altered({ normalizer: { type: "Nope" } })).toThrow(
      `tokenizer.json cannot be used: Unknown Normalizer type: Nope. ${next}`,
    );
    expect(() => loadTokenizer({ ...sample, tokenizerConfig: bytes({ bos_token: 3 }) })).toThrow(
      /tokenizer_config/,
    );
    const long = templates({ default: "x".repeat(300_000) });
    expect(() => loadTokenizer({ ...sample, chatTemplates: long })).toThrow(/300000 characters/);
  });
});
