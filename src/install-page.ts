// The page's own files in the browser, so that it opens without a network, and word of newer ones.

import { trustedScriptUrl } from "./start-worker.ts";

/** Locks that jobs and uploads hold, in any tab. */
const BUSY_LOCKS: ReadonlySet<string> = new Set(["layerpress-page", "layerpress-job"]);

export interface InstalledPage {
  /** Lets the newer build take over and reloads; false while a job or an upload is under way in any tab. */
  takeUpdate(): Promise<boolean>;
}

/**
 * Registers the service worker of the page's folder, once the page itself has come.
 * @param onUpdate called when a newer build lies ready
 */
export function installPage(onUpdate: () => void): InstalledPage {
  let waiting: ServiceWorker | null = null;
  const found = (worker: ServiceWorker | null) => {
    // Without a controller it is the first build, which nobody waits for.
    if (!worker || !navigator.serviceWorker.controller) return;
    waiting = worker;
    onUpdate();
  };
  const register = async () => {
    // The browser's type for an address that Trusted Types have passed is not TypeScript's.
    const address = trustedScriptUrl(new URL("service-worker.js", document.baseURI).href) as string;
    const registration = await navigator.serviceWorker.register(address, { updateViaCache: "none" });
    found(registration.waiting);
    registration.addEventListener("updatefound", () => {
      const { installing } = registration;
      installing?.addEventListener("statechange", () => {
        if (installing.state === "installed") found(installing);
      });
    });
  };
  // Refused in some private windows, and where files are served without https: the page works online.
  if ("serviceWorker" in navigator) void register().catch(() => undefined);
  return {
    async takeUpdate() {
      const { held = [] } = await navigator.locks.query();
      if (!waiting || held.some(({ name }) => BUSY_LOCKS.has(name ?? ""))) return false;
      navigator.serviceWorker.addEventListener("controllerchange", () => location.reload(), { once: true });
      waiting.postMessage("take over", []);
      return true;
    },
  };
}
