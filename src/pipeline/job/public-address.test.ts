import { expect, it } from "vitest";
import { publicAddress } from "./public-address.ts";

it.each([
  ["org/name@main", "org/name@main", false],
  ["https://models.example/tiny/", "https://models.example/tiny/", false],
  ["https://models.example/tiny/?X-Amz-Signature=abc#top", "https://models.example/tiny/", true],
  [
    "https://models.example/tiny/model.safetensors?token=s",
    "https://models.example/tiny/model.safetensors",
    true,
  ],
  ["./tiny/?token=s", "./tiny/", true],
  ["https://models.example/tiny/#files", "https://models.example/tiny/", false],
])("of %s keeps %s", (given, address, shortened) => {
  expect(publicAddress(given)).toEqual({ address, shortened });
});
