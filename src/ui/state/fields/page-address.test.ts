import { describe, expect, it } from "vitest";
import { hostOfAddress, readLinkedModel } from "./page-address.ts";

const PAGE = "https://pages.example.org/layerpress/?model=x";

it("takes an empty and an overlong model of a link for absent", () => {
  expect(readLinkedModel("?model=Qwen%2FQwen3-0.6B&recipe=W8A8")).toBe("Qwen/Qwen3-0.6B");
  for (const search of ["?model=%20", `?model=${"a".repeat(2_001)}`, ""])
    expect(readLinkedModel(search)).toBeNull();
});

describe("hostOfAddress", () => {
  it.each([
    ["org/name", "huggingface.co"],
    ["hf.co/org/name", "huggingface.co"],
    ["https://huggingface.co/org/name/tree/main", "huggingface.co"],
    ["https://models.example.org:8443/tiny/", "models.example.org:8443"],
    ["https://huggingface.co.example.org/org/name", "huggingface.co.example.org"],
    ["https://huggingface.co@example.org/org/name", "example.org"],
    ["org/name/", "huggingface.co"],
    ["sample/", "pages.example.org"],
    ["./models/tiny", "pages.example.org"],
    ["/tiny/", "pages.example.org"],
  ])("says that %s is asked of %s", (address, host) => {
    expect(hostOfAddress(address, PAGE)).toBe(host);
  });

  it.each([
    "",
    "llama",
    "ftp://example.org/",
    "javascript:alert(1)/",
    "C:\\models\\",
    "//evil.example.org/x",
    "https://",
  ])("names no host for %j", (address) => {
    expect(hostOfAddress(address, PAGE)).toBeNull();
  });
});
