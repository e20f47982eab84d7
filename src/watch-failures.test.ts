import { expect, it } from "vitest";
import { watchFailures } from "./watch-failures.ts";

it("tells what failed first, whatever is waited for first", async () => {
  const failures = watchFailures();
  let fail: (error: Error) => void = () => undefined;
  const first = failures.watch(
    new Promise<void>((_, reject) => {
      fail = reject;
    }),
  );
  const second = failures.watch(first.catch(async () => await Promise.reject(new Error("A consequence."))));
  failures.check();
  fail(new Error("The cause."));
  await expect(second).rejects.toThrow("A consequence.");
  expect(() => failures.check()).toThrow("The cause.");
  await expect(first).rejects.toThrow("The cause.");
});

it("gives what comes of work that does not fail", async () => {
  const failures = watchFailures();
  expect(await failures.watch(Promise.resolve(3))).toBe(3);
  failures.check();
});
