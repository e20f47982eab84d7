// What was measured of this browser's adapters, in IndexedDB until the last job is deleted.

import { clear, createStore, get, set } from "idb-keyval";
import type { AdapterSummary } from "./adapter-summary.ts";
import { waitForStore } from "../../storage-answer.ts";

const answered = waitForStore("The browser’s store for what was measured of its GPU (IndexedDB)");

type MeasuredAdapter = Pick<AdapterSummary, "vendor" | "architecture" | "description">;

/** What was measured under this name of this adapter; undefined if nothing was, or if the browser keeps nothing. */
export async function readTuning<Value>(
  adapter: MeasuredAdapter,
  name: string | number,
): Promise<Value | undefined> {
  return await answered(get<Value>(keyOf(adapter, name), openStore())).catch(() => undefined);
}

/** Keeps a figure; a browser that keeps nothing measures again. */
export async function keepTuning(
  adapter: MeasuredAdapter,
  name: string | number,
  value: unknown,
): Promise<void> {
  try {
    await answered(set(keyOf(adapter, name), value, openStore()));
  } catch {
    // Where there is no IndexedDB at all this throws at once.
  }
}

/** What was found under this name of this adapter before, or what `measure` finds now. */
export async function measureOnce(
  adapter: MeasuredAdapter,
  name: string | number,
  measure: () => Promise<boolean>,
): Promise<boolean> {
  const before = await readTuning<boolean>(adapter, name);
  if (before !== undefined) return before;
  const found = await measure();
  await keepTuning(adapter, name, found);
  return found;
}

/** Forgets what was measured of all adapters; what a browser does not let go of is right still. */
export async function forgetTuning(): Promise<void> {
  await answered(clear(openStore())).catch(() => undefined);
}

function keyOf({ vendor, architecture, description }: MeasuredAdapter, name: string | number): string {
  return JSON.stringify([name, vendor, architecture, description]);
}

/** Prefixed because an origin may be shared. */
function openStore() {
  return createStore("layerpress-tuning", "adapters");
}
