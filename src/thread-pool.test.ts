import { expect, it } from "vitest";
import { BrokenThreadError, type Thread } from "./start-thread.ts";
import { createThreadPool } from "./thread-pool.ts";

interface Api {
  answer(): Promise<string>;
}

const SCRIPT = { url: "", base: "", name: "test" };
const never = new Promise<never>(() => undefined);

/** Threads that answer with their names, but those that break; `ended` counts them. */
function threadsOf(breaks: (index: number) => boolean = () => false) {
  const counts = { started: 0, ended: 0 };
  const start = () => {
    const index = counts.started++;
    const broken = breaks(index) ? Promise.reject(new BrokenThreadError("broken")) : never;
    broken.catch(() => undefined);
    const answer = async () => (breaks(index) ? await never : await Promise.resolve(`thread ${index}`));
    return { worker: { terminate: () => counts.ended++ }, api: { answer }, broken } as unknown as Thread<Api>;
  };
  return { counts, start };
}

it("asks a thread that has nothing to do, and starts no more than the most", async () => {
  const { counts, start } = threadsOf();
  using pool = createThreadPool<Api>(SCRIPT, { most: 2, start });
  const ask = async () =>
    await pool.ask(
      async (api) => await api.answer(),
      () => "here",
    );

  expect(await ask()).toBe("thread 0");
  expect(await Promise.all([ask(), ask(), ask()])).toEqual(["thread 0", "thread 1", "thread 0"]);
  expect(counts.started).toBe(2);
});

it("answers itself for a thread that breaks down, and without any", async () => {
  for (const most of [0, 1]) {
    using pool = createThreadPool<Api>(SCRIPT, { most, start: threadsOf(() => true).start });
    const answer = await pool.ask(
      async (api) => await api.answer(),
      () => "here",
    );
    expect(answer).toBe("here");
  }
});

it("ends its threads when it is disposed of", async () => {
  const { counts, start } = threadsOf();
  {
    using pool = createThreadPool<Api>(SCRIPT, { most: 2, start });
    await pool.ask(
      async (api) => await api.answer(),
      () => "here",
    );
  }
  expect(counts).toEqual({ started: 1, ended: 1 });
});
