import { expect, it } from "vitest";
import { endedBy, undoneBy } from "./ended-by.ts";

const fails = (message: string) => async () => await Promise.reject(new Error(message));
const nothing = async () => await Promise.resolve();

it("ends what has come to something, and gives that", async () => {
  const done: string[] = [];
  const run = async () => await Promise.resolve(done.push("run"));
  const end = async () => await Promise.resolve(void done.push("end"));
  expect(await endedBy(run, end, () => void done.push("last"))).toBe(1);
  expect(done).toEqual(["run", "end", "last"]);
});

it("tells what failed first, and ends the rest all the same", async () => {
  await expect(endedBy(fails("The cause."), fails("A consequence."))).rejects.toThrow("The cause.");
  await expect(endedBy(fails("The cause."), nothing)).rejects.toThrow("The cause.");
  await expect(endedBy(nothing, fails("The end."))).rejects.toThrow("The end.");
  const done: string[] = [];
  const ends = [fails("The end."), fails("A later one."), () => void done.push("last")] as const;
  await expect(endedBy(nothing, ...ends)).rejects.toThrow("The end.");
  await expect(endedBy(fails("The cause."), ...ends)).rejects.toThrow("The cause.");
  expect(done).toEqual(["last", "last"]);
});

it("undoes what has failed, and nothing else", async () => {
  const done: string[] = [];
  const undo = () => void done.push("undone");
  expect(await undoneBy(async () => await Promise.resolve(3), undo)).toBe(3);
  expect(done).toEqual([]);
  await expect(undoneBy(fails("The cause."), undo)).rejects.toThrow("The cause.");
  await expect(undoneBy(fails("The cause."), fails("A consequence."))).rejects.toThrow("The cause.");
  expect(done).toEqual(["undone"]);
});
