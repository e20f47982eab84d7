import { expect, it } from "vitest";
import { MalformedModelError, printable } from "./errors.ts";

it("say on one line what strangers name, and without what a terminal obeys", () => {
  const name = "model.\u001b[2J\u001b]0;done\u0007.weight\u009b31m\u202egpj\r";
  expect(new MalformedModelError(`${name} is\nnot\t\u2028there.`).message).toBe(
    String.raw`model.\u001b[2J\u001b]0;done\u0007.weight\u009b31m\u202egpj\r is\nnot\t\u2028there.`,
  );
});

it("leave a text its lines", () => {
  expect(printable("One\n\ttwo\u001b[2J\u2028.")).toBe("One\n\ttwo\ufffd[2J\ufffd.");
});
