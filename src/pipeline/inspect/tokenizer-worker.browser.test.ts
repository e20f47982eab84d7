import { describe, expect, it } from "vitest";
import { startTokenizer } from "./tokenizer-worker.ts";

/** A template that writes the first message, or does not end if that is "for ever". */
const TEMPLATE = `{% if messages[0].content == 'for ever' %}{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}{% endfor %}{% endfor %}{% endfor %}{% endif %}{{ messages[0].content }}`;

const conversation = (content: string) => ({ messages: [{ role: "user", content }], tools: null });

describe("a tokenizer in a worker of its own", () => {
  it("answers, tells what it refuses, and is ended where it comes to no end", async () => {
    const tokenizerJson = await (await fetch("/sample/tokenizer.json")).text();
    const bytes = (text: string) => new TextEncoder().encode(text);
    using tokenizer = await startTokenizer(
      {
        tokenizerJson: bytes(tokenizerJson),
        tokenizerConfig: null,
        chatTemplates: new Map([["default", bytes(TEMPLATE)]]),
        processorTemplate: null,
      },
      1000,
    );
    const ids = await tokenizer.encode("Once upon a time");
    expect(await tokenizer.decode(ids, true)).toContain("Once upon a time");
    expect(tokenizer.hasChatTemplate).toBe(true);
    await expect(
      tokenizer.encodeChat(conversation("for ever"), false, "chats.jsonl, line 3"),
    ).rejects.toMatchObject({
      name: "CalibrationError",
      message: expect.stringMatching(/^chats\.jsonl, line 3: .* came to no end within 2 s and was stopped/),
    });
    expect((await tokenizer.encodeChat(conversation("Once"), false)).length).toBeGreaterThan(0);
  });

  it("says what is wrong with its files", async () => {
    const broken = { tokenizerJson: new TextEncoder().encode("{"), tokenizerConfig: null };
    await expect(
      startTokenizer({ ...broken, chatTemplates: new Map(), processorTemplate: null }),
    ).rejects.toMatchObject({
      name: "MalformedModelError",
      message: expect.stringMatching(/^tokenizer\.json/),
    });
  });

  it("says that its script does not arrive, however large its files are", async () => {
    const { Worker } = globalThis;
    class Absent extends EventTarget {
      postMessage = () => void this.dispatchEvent(new Event("error"));
      terminate = () => undefined;
    }
    Object.assign(globalThis, { Worker: Absent });
    try {
      const files = { tokenizerJson: new Uint8Array(10), tokenizerConfig: null };
      await expect(
        startTokenizer({ ...files, chatTemplates: new Map(), processorTemplate: null }),
      ).rejects.toMatchObject({
        name: "NetworkError",
        message: expect.stringMatching(/could not be loaded\. Go on while/),
      });
    } finally {
      Object.assign(globalThis, { Worker });
    }
  });
});
