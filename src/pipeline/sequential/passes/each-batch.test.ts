import { describe, expect, it } from "vitest";
import type { LedgerBuffer } from "../../../gpu/memory.ts";
import { createJointWork } from "../../../joint-work.ts";
import { eachBatch } from "./each-batch.ts";

const BATCHES = [0, 1, 2, 3].map((first) => ({
  rows: { first, starts: [0, 1], tokens: 1, firstToken: first },
}));

/** Runs four batches whose transfers and computing take a turn of the event loop each, and tells in which order. */
async function orderOf(buffers: number, { failing = -1, frees = false } = {}): Promise<string[]> {
  const said: string[] = [];
  const turn = async (what: string) => {
    said.push(`${what} begins`);
    await new Promise((resolve) => setTimeout(resolve));
    said.push(`${what} ends`);
  };
  const hidden = Array.from({ length: buffers }, (_, slot) => ({ label: `${slot}` }) as LedgerBuffer);
  const states = { load: async ({ first }: { first: number }) => await turn(`load ${first}`) };
  const computed = eachBatch({ batches: BATCHES, hidden, states }, async (_, index) => {
    await turn(`compute ${index}`);
    if (index === failing) throw new Error(`batch ${index} failed`);
    return async (free) => {
      if (frees) free();
      await turn(`save ${index}`);
    };
  });
  await computed.catch((error: unknown) => said.push(String(error)));
  return said;
}

describe("eachBatch", () => {
  it("does one thing at a time with one buffer", async () => {
    const said = await orderOf(1);
    const steps = [0, 1, 2, 3].flatMap((index) => [`load ${index}`, `compute ${index}`, `save ${index}`]);
    expect(said).toEqual(steps.flatMap((step) => [`${step} begins`, `${step} ends`]));
  });

  it("loads a batch while the one before it is computed, and only when its buffer was taken away", async () => {
    const said = await orderOf(2);
    const at = (what: string) => said.indexOf(what);
    for (const index of [0, 1, 2]) {
      expect(at(`load ${index + 1} begins`)).toBeLessThan(at(`compute ${index} ends`));
    }
    for (const index of [0, 1])
      expect(at(`load ${index + 2} begins`)).toBeGreaterThan(at(`save ${index} ends`));
    for (const index of [0, 1, 2]) {
      expect(at(`compute ${index + 1} begins`)).toBeGreaterThan(at(`load ${index + 1} ends`));
    }
    expect(said.at(-1)).toBe("save 3 ends");
  });

  it("loads a batch as soon as its buffer is free, and computes it when the one before in it is gone", async () => {
    const said = await orderOf(2, { frees: true });
    const at = (what: string) => said.indexOf(what);
    for (const index of [0, 1]) {
      expect(at(`load ${index + 2} begins`)).toBeLessThan(at(`save ${index} ends`));
      expect(at(`compute ${index + 2} begins`)).toBeGreaterThan(at(`save ${index} ends`));
    }
    expect(said.at(-1)).toBe("save 3 ends");
  });

  it("tells what it is a part of at once that something fails, and others what failed first", async () => {
    const joint = createJointWork();
    let load = () => {};
    const loaded = new Promise<void>((resolve) => (load = resolve));
    const states = {
      async load({ first }: { first: number }) {
        if (first === 0) return;
        await loaded;
        throw new Error("The disk is gone.");
      },
    };
    const hidden = [{ label: "0" }, { label: "1" }] as LedgerBuffer[];
    const fails = async () => await Promise.reject(new Error("The GPU is gone."));
    let isTold = false;
    const running = eachBatch({ batches: BATCHES, hidden, states }, fails, joint).finally(() => {
      isTold = true;
    });
    await joint.unlessFailed(loaded).catch(() => undefined);
    expect(isTold).toBe(false);
    expect(() => joint.check()).toThrow("The GPU is gone.");
    load();
    await expect(running).rejects.toThrow("The GPU is gone.");
  });

  it("lets what is under way end before it fails", async () => {
    const said = await orderOf(2, { failing: 1 });
    expect(said.at(-1)).toBe("Error: batch 1 failed");
    expect(said.filter((line) => line.endsWith("begins")).length).toBe(
      said.filter((line) => line.endsWith("ends")).length,
    );
    expect(said).not.toContain("compute 2 begins");
  });
});
