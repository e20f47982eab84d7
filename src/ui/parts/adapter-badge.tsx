import type { AdapterSummary } from "../../gpu/device/adapter-summary.ts";
import { useApp } from "./app-context.ts";

/** Names the GPU that will do the work. What is wrong with it is said in the first state, in whole sentences. */
export function AdapterBadge() {
  const { state } = useApp();
  const adapter = state.adapter.value;
  const missing = state.adapterProblem.value !== null;
  const kind = adapter && !adapter.software ? "good" : adapter || missing ? "warn" : "quiet";
  return (
    <output class={`badge ${kind}`}>
      {adapter ? adapterName(adapter) : missing ? "No GPU" : "Looking for a GPU…"}
    </output>
  );
}

/** "NVIDIA ada-lovelace"; browsers tell vendor and architecture, and seldom more. */
function adapterName({ vendor, architecture, description, software }: AdapterSummary): string {
  if (software) return "Software adapter";
  const maker =
    vendor.length <= 6 ? vendor.toUpperCase() : vendor.replace(/^./, (first) => first.toUpperCase());
  return description || [maker, architecture].filter((part) => part !== "").join(" ") || "GPU";
}
