import { expect, it } from "vitest";
import { openTokenizer } from "./open-tokenizer.ts";

it("refuses a folder with more templates than are read", async () => {
  const templates = Array.from({ length: 33 }, (_, index) => `additional_chat_templates/t${index}.jinja`);
  const files = ["tokenizer.json", ...templates].map((path) => ({ path, bytes: 2 }));
  const source = { readFile: async () => await Promise.resolve(new TextEncoder().encode("{}")) };
  await expect(openTokenizer(source, files)).rejects.toThrow(
    "additional_chat_templates holds 33 templates, and 32 at most are read.",
  );
});
