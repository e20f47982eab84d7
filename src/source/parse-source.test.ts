import { describe, expect, it } from "vitest";
import { AccessError } from "../errors.ts";
import { parseSource } from "./parse-source.ts";

const context = { base: "https://pages.example.org/layerpress/", hubUrl: "https://huggingface.co" };
const parse = (address: string) => parseSource(address, context);
const hub = (repository: string, revision: string | null = null, folder = "") => ({
  kind: "hub",
  repository,
  revision,
  folder,
});
const folder = (url: string, file: string | null = null) => ({ kind: "folder", url, file });

describe("parseSource", () => {
  it("reads names of the Hub, with and without a revision", () => {
    expect(parse("Qwen/Qwen2.5-0.5B")).toEqual(hub("Qwen/Qwen2.5-0.5B"));
    expect(parse("  meta-llama/Llama-3.2-1B/ ")).toEqual(hub("meta-llama/Llama-3.2-1B"));
    expect(parse("org/name@v1.0")).toEqual(hub("org/name", "v1.0"));
    expect(parse("org/name@refs/pr/7")).toEqual(hub("org/name", "refs/pr/7"));
  });

  it("reads pages of the Hub", () => {
    expect(parse("https://huggingface.co/org/name")).toEqual(hub("org/name"));
    expect(parse("<https://huggingface.co/org/name?library=transformers#usage>")).toEqual(hub("org/name"));
    expect(parse("huggingface.co/org/name")).toEqual(hub("org/name"));
    expect(parse("hf.co/org/name")).toEqual(hub("org/name"));
    expect(parse("https://huggingface.co/org/name/discussions/3")).toEqual(hub("org/name"));
    expect(parse("https://huggingface.co/org/name/tree/main")).toEqual(hub("org/name", "main"));
    expect(parse("https://huggingface.co/org/name/tree/v2/sub/folder/")).toEqual(
      hub("org/name", "v2", "sub/folder"),
    );
    expect(parse("https://huggingface.co/org/name/tree/refs%2Fpr%2F1/sub")).toEqual(
      hub("org/name", "refs/pr/1", "sub"),
    );
    expect(parse("https://huggingface.co/org/name/tree/feature%2Fbranch")).toEqual(
      hub("org/name", "feature/branch"),
    );
    expect(parse("https://huggingface.co/org/name/tree/fix%2Fa%2Bb%231/sub%20folder/x")).toEqual(
      hub("org/name", "fix/a+b#1", "sub folder/x"),
    );
    expect(parse("https://huggingface.co/org/name/blob/feature%2Fbranch/a/config.json")).toEqual(
      hub("org/name", "feature/branch", "a"),
    );
    expect(parse("https://huggingface.co/org/name/tree/refs/pr/7/sub")).toEqual(
      hub("org/name", "refs/pr/7", "sub"),
    );
    expect(parse("https://huggingface.co/org/name/blob/main/config.json")).toEqual(hub("org/name", "main"));
    expect(parse("https://huggingface.co/org/name/resolve/main/a/model.safetensors?download=true")).toEqual(
      hub("org/name", "main", "a"),
    );
  });

  it("takes the overridden Hub for the Hub", () => {
    const local = { ...context, hubUrl: "http://127.0.0.1:8123" };
    expect(parseSource("http://127.0.0.1:8123/org/name/tree/dev", local)).toEqual(hub("org/name", "dev"));
  });

  it("reads folders and files of other servers, and keeps the query", () => {
    expect(parse("https://m.example.org/tiny")).toEqual(folder("https://m.example.org/tiny/"));
    expect(parse("https://m.example.org/Llama-3.2-1B?sig=a%2Fb#x")).toEqual(
      folder("https://m.example.org/Llama-3.2-1B/?sig=a%2Fb"),
    );
    for (const file of ["config.json", "model.safetensors", "model.safetensors.index.json"]) {
      expect(parse(`https://m.example.org/tiny/${file}?t=1`)).toEqual(
        folder("https://m.example.org/tiny/?t=1", file),
      );
    }
    expect(parse("http://localhost:9000/")).toEqual(folder("http://localhost:9000/"));
  });

  it("resolves relative addresses against the page", () => {
    expect(parse("sample/")).toEqual(folder("https://pages.example.org/layerpress/sample/"));
    expect(parse("./models/tiny")).toEqual(folder("https://pages.example.org/layerpress/models/tiny/"));
    expect(parse("../other/config.json")).toEqual(folder("https://pages.example.org/other/", "config.json"));
    expect(parse("/tiny/")).toEqual(folder("https://pages.example.org/tiny/"));
  });

  it.each([
    ["", /Name a model/],
    ["   ", /Name a model/],
    ["llama", /"llama" is not an address that can be fetched/],
    ["a model of mine", /is not an address/],
    ["ftp://example.org/model/", /begins with https/],
    ["file:///home/me/model/", /dropped on the page/],
    ["C:\\models\\tiny", /dropped on the page/],
    ["javascript:alert(1)//", /is not an address/],
    ["models.example.org:8080/tiny/", /is not an address/],
    ["https://me:secret@example.org/tiny/", /user name or password/],
    ["http://example.org/tiny/", /Browsers do not let a page from https/],
    ["https://huggingface.co/", /not the page of a model/],
    ["https://huggingface.co/gpt2", /not the page of a model/],
    ["https://huggingface.co/datasets/org/name", /not the page of a model/],
    ["https://huggingface.co/org/name/tree/main/..%2F..", /cannot be used/],
    ["https://huggingface.co/org/name/tree/%E0%A4", /not properly encoded/],
    ["org/name@../main", /cannot be a revision/],
    ["https://huggingface.co/org/name/tree/a%2F..%2Fb", /cannot be a revision/],
    ["https://huggingface.co/org/name/tree/a%2F", /cannot be a revision/],
    ["https://example.org/model.gguf", /not a safetensors file/],
    [`https://example.org/${"x".repeat(9000)}`, /is not an address/],
  ])("refuses %j with a sentence", (address, message) => {
    expect(() => parse(address)).toThrow(AccessError);
    expect(() => parse(address)).toThrow(message);
  });

  it("never repeats a password in its sentence", () => {
    expect(() => parse("https://me:secret@example.org/tiny/")).not.toThrow(/secret/);
  });
});
