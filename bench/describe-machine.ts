import { requestAdapter, summarizeAdapter } from "../src/gpu/gpu.ts";
import type { BenchmarkHead } from "./report/result.ts";

/** The head of a result: what the figures hold for. */
export async function describeMachine(small: boolean): Promise<BenchmarkHead> {
  const adapter = await requestAdapter();
  const { vendor, architecture, description, software, features } = summarizeAdapter(adapter);
  return {
    date: new Date().toISOString(),
    commit: LAYERPRESS_COMMIT,
    userAgent: navigator.userAgent,
    adapter: { vendor, architecture, device: adapter.info.device, description, software },
    features: features.toSorted(),
    limits: readLimits(adapter.limits),
    gpuClock: adapter.features.has("timestamp-query") ? "timestamp-query" : "wall",
    small,
  };
}

/** Limits are getters of the prototype: they neither spread nor serialize. */
function readLimits(limits: GPUSupportedLimits): Record<string, number> {
  const names = Object.keys(Object.getOwnPropertyDescriptors(Object.getPrototypeOf(limits)));
  const values = limits as unknown as Readonly<Record<string, unknown>>;
  const entries = names.toSorted().map((name) => [name, values[name]] as const);
  return Object.fromEntries(
    entries.filter((entry): entry is [string, number] => typeof entry[1] === "number"),
  );
}
