import "./disposal.ts";
import { expect, it } from "vitest";
import { firstCause, isAbort, joinedLines, MalformedModelError, printable } from "./errors.ts";

it("say on one line what strangers name, and without what a terminal obeys", () => {
  const name = "model.\u001b[2J\u001b]0;done\u0007.weight\u009b31m\u202egpj\r";
  expect(new MalformedModelError(`${name} is\nnot\t\u2028there.`).message).toBe(
    String.raw`model.\u001b[2J\u001b]0;done\u0007.weight\u009b31m\u202egpj\r is\nnot\t\u2028there.`,
  );
});

it("join the lines that a browser says something in", () => {
  const dawn = "Buffer size is too large.\n - While calling [Device].CreateBuffer.\n";
  expect(joinedLines(dawn)).toBe("Buffer size is too large. - While calling [Device].CreateBuffer.");
});

it("leave a text its lines", () => {
  expect(printable("One\n\ttwo\u001b[2J\u2028.")).toBe("One\n\ttwo\ufffd[2J\ufffd.");
});

/** Fails, and so does giving back what it had. */
async function failsTwice(first: Error): Promise<void> {
  using _ = {
    [Symbol.dispose]() {
      throw new Error("The disposer fails, too.");
    },
  };
  await Promise.reject(first);
}

async function thrownBy(running: Promise<void>): Promise<unknown> {
  return await running.then(
    () => null,
    (error: unknown) => error,
  );
}

it("are told by what failed first, however many disposers fail behind that", async () => {
  const first = new MalformedModelError("The cause.");
  const hidden = await thrownBy(failsTwice(first));
  expect(hidden).not.toBe(first);
  expect(firstCause(hidden)).toBe(first);
  expect(firstCause(await thrownBy(failsTwice(hidden as Error)))).toBe(first);
  expect(firstCause(first)).toBe(first);
  expect(firstCause("no error")).toBe("no error");
});

it("tell that a job was cancelled, though a disposer fails behind that", async () => {
  const cancelled = new DOMException("The job was cancelled.", "AbortError");
  expect(isAbort(await thrownBy(failsTwice(cancelled)))).toBe(true);
  expect(isAbort(await thrownBy(failsTwice(new Error("Another."))))).toBe(false);
});
