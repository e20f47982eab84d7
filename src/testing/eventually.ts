import { vi } from "vitest";

/** Waits until `check` throws no more. The limit is there to end a test that hangs; it promises no speed. */
export async function eventually<Value>(check: () => Value | Promise<Value>): Promise<Value> {
  return await vi.waitFor(check, { timeout: 60_000 });
}
