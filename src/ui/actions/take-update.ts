import type { App } from "../state/app-state.ts";

/** Reloads the page into its new version, unless a job or an upload is under way in any tab: their scripts must not change. */
export async function takeUpdate({ state, services }: App): Promise<void> {
  if (await services.platform.takeUpdate()) return;
  state.notice.value =
    "A job or an upload is under way in a tab of this page. The new version waits until it has ended.";
}
