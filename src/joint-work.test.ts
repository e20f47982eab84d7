import { setImmediate as nextTurn } from "node:timers/promises";
import { expect, it } from "vitest";
import { beginJointly, createJointWork } from "./joint-work.ts";

function later<Value>() {
  let resolve: (value: Value) => void = () => undefined;
  let reject: (error: Error) => void = () => undefined;
  const promise = new Promise<Value>((settle, fail) => {
    resolve = settle;
    reject = fail;
  });
  return { promise, resolve, reject };
}

const fails = async () => await Promise.reject(new Error("The cause."));

it("begins no part behind a failure, and tells all of what failed first", async () => {
  const joint = createJointWork();
  const slow = later<string>();
  const atWork = joint.part(async () => await slow.promise);
  const other = joint.part(async () => {
    await slow.promise;
    throw new Error("A consequence.");
  });
  joint.check();
  await expect(joint.part(fails)).rejects.toThrow("The cause.");
  expect(() => joint.check()).toThrow("The cause.");
  const begun: string[] = [];
  const late = joint.part(async () => await Promise.resolve(begun.push("late")));
  await expect(late).rejects.toThrow("The cause.");
  expect(begun).toEqual([]);
  slow.resolve("done");
  expect(await atWork).toBe("done");
  await expect(other).rejects.toThrow("The cause.");
});

it("gives up what is waited for when a part fails, or has failed", async () => {
  const joint = createJointWork();
  expect(await joint.unlessFailed(Promise.resolve(3))).toBe(3);
  await expect(joint.unlessFailed(Promise.reject(new Error("Its own.")))).rejects.toThrow("Its own.");
  joint.check();
  const late = later<never>();
  const waiting = joint.unlessFailed(late.promise);
  joint.fail(new Error("The cause."));
  joint.fail(new Error("A consequence."));
  await expect(waiting).rejects.toThrow("The cause.");
  await expect(joint.unlessFailed(Promise.resolve(3))).rejects.toThrow("The cause.");
  // Nobody waits for it any more, and it is no unhandled failure.
  late.reject(new Error("Too late."));
});

it("waits for parts that go on behind what began them, if that fails", async () => {
  const gate = later<void>();
  const ends: string[] = [];
  const failing = beginJointly(async (joint) => {
    const work = async () => {
      await gate.promise;
      ends.push("part");
      throw new Error("A consequence.");
    };
    void joint.watch(work());
    await Promise.reject(new Error("The cause."));
  });
  const told = failing.catch((error: unknown) => {
    ends.push("told");
    throw error;
  });
  await nextTurn();
  expect(ends).toEqual([]);
  gate.resolve();
  await expect(told).rejects.toThrow("The cause.");
  expect(ends).toEqual(["part", "told"]);
});

it("waits for all parts of what was begun before it, too", async () => {
  const joint = createJointWork();
  const gate = later<void>();
  const ends: string[] = [];
  const work = async () => {
    await gate.promise;
    ends.push("part");
  };
  const part = joint.part(work);
  const failing = beginJointly(fails, joint).finally(() => ends.push("told"));
  await nextTurn();
  expect(() => joint.check()).toThrow("The cause.");
  gate.resolve();
  await part;
  await expect(failing).rejects.toThrow("The cause.");
  expect(ends).toEqual(["part", "told"]);
});

it("leaves parts to go on where what began them has ended well", async () => {
  const gate = later<number>();
  const { part } = await beginJointly(async (joint) => {
    return await Promise.resolve({ part: joint.part(async () => await gate.promise) });
  });
  gate.resolve(3);
  expect(await part).toBe(3);
});
