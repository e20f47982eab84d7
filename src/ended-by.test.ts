import { expect, it } from "vitest";
import { endedBy } from "./ended-by.ts";

const fails = (message: string) => async () => await Promise.reject(new Error(message));
const nothing = async () => await Promise.resolve();

it("ends what has come to something, and gives that", async () => {
  const done: string[] = [];
  const run = async () => await Promise.resolve(done.push("run"));
  expect(await endedBy(run, async () => await Promise.resolve(void done.push("end")))).toBe(1);
  expect(done).toEqual(["run", "end"]);
});

it("tells what failed first", async () => {
  await expect(endedBy(fails("The cause."), fails("A consequence."))).rejects.toThrow("The cause.");
  await expect(endedBy(fails("The cause."), nothing)).rejects.toThrow("The cause.");
  await expect(endedBy(nothing, fails("The end."))).rejects.toThrow("The end.");
});
