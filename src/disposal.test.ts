import { expect, it } from "vitest";
import { createLifetime, madeOf, openTogether } from "./disposal.ts";

function part(name: string, gone: string[]): Disposable {
  return { [Symbol.dispose]: () => void gone.push(name) };
}

it("disposes of what was opened, the last first, where something else cannot be", async () => {
  const gone: string[] = [];
  const opening = openTogether(async (parts) => {
    parts.use(part("first", gone));
    parts.useEach([part("second", gone), part("third", gone)]);
    return await Promise.reject(new Error("There is no fourth."));
  });
  await expect(opening).rejects.toThrow("There is no fourth.");
  expect(gone).toEqual(["third", "second", "first"]);
});

it("disposes of parts with what they make, and not before", async () => {
  const gone: string[] = [];
  const made = await madeOf(async (parts) => {
    parts.use(part("kept", gone));
    return await Promise.resolve({ parts });
  });
  const opened = await openTogether(
    async (parts) => await Promise.resolve({ it: parts.use(part("own", gone)) }),
  );
  expect(gone).toEqual([]);
  opened[Symbol.dispose]();
  made.parts[Symbol.dispose]();
  expect(gone).toEqual(["own", "kept"]);
});

it("waits for what is opened side by side, disposes of it, and tells what failed first", async () => {
  const gone: string[] = [];
  let bring: (opened: Disposable) => void = () => undefined;
  const late = new Promise<Disposable>((resolve) => {
    bring = resolve;
  });
  const lifetime = createLifetime();
  const fails = async (message: string) => await Promise.reject<Disposable>(new Error(message));
  const after = late.then(async () => await fails("later"));
  const all = lifetime.useAll([late, after, fails("first")]);
  bring(part("late", gone));
  await expect(all).rejects.toThrow("first");
  lifetime[Symbol.dispose]();
  expect(gone).toEqual(["late"]);
});

it("gives what is opened side by side in its order, and has none of what is not", async () => {
  const gone: string[] = [];
  const lifetime = createLifetime();
  const [one, none] = await lifetime.useAll([Promise.resolve(part("one", gone)), Promise.resolve(null)]);
  expect(none).toBeNull();
  one[Symbol.dispose]();
  expect(gone).toEqual(["one"]);
});

it("gives back the rest where one cannot be, and tells of that", () => {
  const gone: string[] = [];
  const lifetime = createLifetime();
  lifetime.use(part("one", gone));
  lifetime.use({
    [Symbol.dispose]() {
      throw new Error("It stays.");
    },
  });
  lifetime.use(part("other", gone));
  expect(() => lifetime[Symbol.dispose]()).toThrow("It stays.");
  expect(gone).toEqual(["other", "one"]);
});

it("tells why something could not be made, though its parts cannot be given back", async () => {
  const making = madeOf(async (parts) => {
    parts.use({
      [Symbol.dispose]() {
        throw new Error("It stays.");
      },
    });
    return await Promise.reject<object>(new Error("The cause."));
  });
  await expect(making).rejects.toThrow("The cause.");
});
