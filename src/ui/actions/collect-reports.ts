import type { App } from "../state/app-state.ts";

/** Fetches the module reports that are new since the last look; a look that was overtaken by another changes nothing. */
export async function collectReports({ state, services }: App, reported: number): Promise<void> {
  const known = state.modules.peek();
  if (reported <= known.length) return;
  const fresh = await services.compressor.moduleReports(known.length);
  if (state.modules.peek() === known && state.running.peek()) state.modules.value = [...known, ...fresh];
}
