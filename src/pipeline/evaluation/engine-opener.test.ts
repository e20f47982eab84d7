import { expect, it, vi } from "vitest";
import type { Engine, EngineOptions } from "../../evaluate/runtime/engine.ts";
import type { MeasuredDevice } from "../../evaluate/runtime/measured-device.ts";
import { createEngineOpener } from "./engine-opener.ts";

const OPTIONS: EngineOptions = { budgetBytes: 1024, provider: "webgpu" };
const OTHER: EngineOptions = { ...OPTIONS, budgetBytes: 2048 };

interface Opened {
  lose(): void;
  closed: number;
}

/** @param ready of all engines: when their runtime is there */
function opener(ready: () => Promise<void> = async () => await Promise.resolve()) {
  const opened: Opened[] = [];
  const engines = createEngineOpener(async ({ budgetBytes }) => {
    const own: Opened = { lose: () => undefined, closed: 0 };
    const lost = new Promise<void>((resolve) => {
      own.lose = resolve;
    });
    opened.push(own);
    if (budgetBytes === 0) throw new Error("There is no GPU.");
    const gpu = { device: { lost } } as unknown as MeasuredDevice;
    const close = async () => await Promise.resolve(void own.closed++);
    return await Promise.resolve({ gpu, ready, [Symbol.asyncDispose]: close } as Partial<Engine> as Engine);
  });
  const expectClosed = async (counts: readonly number[]) =>
    await vi.waitFor(() => expect(opened.map(({ closed }) => closed)).toEqual(counts));
  return { engines, opened, expectClosed };
}

it("opens an engine ahead, which is the one that is asked for with its options, once", async () => {
  const { engines, opened, expectClosed } = opener();
  engines.prepare(OPTIONS);
  engines.prepare({ ...OPTIONS });
  expect(opened).toHaveLength(1);
  await engines.take({ ...OPTIONS }).engine;
  expect(opened).toHaveLength(1);
  await engines.take(OPTIONS).engine;
  expect(opened).toHaveLength(2);
  engines.close();
  await expectClosed([0, 0]);
});

it("closes the one that waits where another one is prepared, and not one that was taken", async () => {
  const { engines, opened, expectClosed } = opener();
  engines.prepare(OPTIONS);
  engines.prepare(OTHER);
  await expectClosed([1, 0]);
  engines.take(OTHER);
  engines.prepare(OPTIONS);
  expect(opened).toHaveLength(3);
  await expectClosed([1, 0, 0]);
});

it("closes the one that waits where one of other options is taken", async () => {
  const { engines, opened, expectClosed } = opener();
  engines.prepare(OPTIONS);
  engines.take(OTHER);
  expect(opened).toHaveLength(2);
  await expectClosed([1, 0]);
});

it("closes the one that waits, which may still be on its way, once", async () => {
  const { engines, opened, expectClosed } = opener();
  engines.prepare(OPTIONS);
  engines.close();
  engines.close();
  await expectClosed([1]);
  opened[0]?.lose();
  await engines.take(OPTIONS).engine;
  expect(opened).toHaveLength(2);
  await expectClosed([1, 0]);
});

it("closes the one that waits when its GPU goes away", async () => {
  const { engines, opened, expectClosed } = opener();
  engines.prepare(OPTIONS);
  opened[0]?.lose();
  await expectClosed([1]);
  await engines.take(OPTIONS).engine;
  expect(opened).toHaveLength(2);
});

it("leaves one that was taken to whoever has it when its GPU goes away, and closes it if it is given back", async () => {
  const { engines, opened, expectClosed } = opener();
  const taken = engines.take(OPTIONS);
  await taken.engine;
  opened[0]?.lose();
  await new Promise(setImmediate);
  await expectClosed([0]);
  engines.giveBack(taken);
  await expectClosed([1]);
  engines.take(OPTIONS);
  expect(opened).toHaveLength(2);
});

it("lets one that is given back wait, in the place of the one that waits", async () => {
  const { engines, opened, expectClosed } = opener();
  const taken = engines.take(OPTIONS);
  engines.prepare(OPTIONS);
  engines.giveBack(taken);
  await expectClosed([0, 1]);
  expect(engines.take(OPTIONS)).toBe(taken);
  expect(opened).toHaveLength(2);
});

it("closes the one that waits when its runtime cannot be had", async () => {
  const { engines, opened, expectClosed } = opener(
    async () => await Promise.reject(new Error("The network is gone.")),
  );
  engines.prepare(OPTIONS);
  await expectClosed([1]);
  engines.take(OPTIONS);
  expect(opened).toHaveLength(2);
});

it("opens one anew where that failed", async () => {
  const { engines, opened } = opener();
  const none = { ...OPTIONS, budgetBytes: 0 };
  engines.prepare(none);
  await new Promise(setImmediate);
  await expect(engines.take(none).engine).rejects.toThrow("There is no GPU.");
  expect(opened).toHaveLength(2);
});
