import { describe, expect, it } from "vitest";
import type { Engine, EngineOptions } from "../../evaluate/runtime/engine.ts";
import { createEngineOpener } from "./engine-opener.ts";

const OPTIONS: EngineOptions = { budgetBytes: 1024, provider: "wasm" };

function opener() {
  const opened: EngineOptions[] = [];
  const closed: EngineOptions[] = [];
  const engines = createEngineOpener(async (options) => {
    opened.push(options);
    if (options.budgetBytes === 0) throw new Error("There is no GPU.");
    const close = async () => void closed.push(options);
    return await Promise.resolve({ gpu: null, [Symbol.asyncDispose]: close } as Partial<Engine> as Engine);
  });
  return { engines, opened, closed };
}

describe("an engine that is prepared", () => {
  it("is the one that is asked for with its options, once", async () => {
    const { engines, opened } = opener();
    const prepared = engines.prepare(OPTIONS);
    const asked = engines.prepare({ ...OPTIONS });
    expect(asked).toBe(prepared);
    await engines.take(asked);
    expect(engines.prepare(OPTIONS)).not.toBe(prepared);
    expect(opened).toHaveLength(2);
  });

  it("is closed where another one is wanted instead", async () => {
    const { engines, closed } = opener();
    engines.prepare(OPTIONS);
    await engines.take(engines.prepare({ ...OPTIONS, budgetBytes: 2048 }));
    expect(closed).toEqual([OPTIONS]);
  });

  it("is opened anew where that failed", async () => {
    const { engines, opened } = opener();
    const none = { ...OPTIONS, budgetBytes: 0 };
    const failed = engines.prepare(none);
    await expect(failed.engine).rejects.toThrow("There is no GPU.");
    expect(engines.prepare(none)).not.toBe(failed);
    expect(opened).toHaveLength(2);
  });
});
