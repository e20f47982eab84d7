import { expect, it } from "vitest";
import { MalformedModelError } from "./errors.ts";

it("say what strangers name without what a terminal obeys", () => {
  const name = "model.\u001b[2J\u001b]0;done\u0007.weight\u009b31m\u202egpj\r";
  expect(new MalformedModelError(`${name} is not there.\n\tLook.`).message).toBe(
    "model.\ufffd[2J\ufffd]0;done\ufffd.weight\ufffd31m\ufffdgpj\ufffd is not there.\n\tLook.",
  );
});
