import type { LoginProof, Platform } from "../state/services.ts";

const LOCK = "layerpress-page";
const LOGIN = "layerpress-login";
const HIDDEN_INTERVAL_MS = 1_000;

/** The browser's own means, as the interface uses them. */
export function browserPlatform(takeUpdate: Platform["takeUpdate"]): Platform {
  return {
    holdForJob,
    persisted: async () => await navigator.storage.persisted(),
    persist: async () => await navigator.storage.persist(),
    copyText: async (text) => await navigator.clipboard.writeText(text),
    reload: () => location.reload(),
    whenLeft: (leave) => addEventListener("pagehide", leave),
    leaveForLogin(url, proof) {
      sessionStorage.setItem(LOGIN, JSON.stringify(proof));
      location.assign(url);
    },
    takeLogin,
    takeUpdate,
    newestPerFrame,
  };
}

/** The token itself is never kept; this proof is worth nothing once the login has ended. */
function takeLogin(): LoginProof | null {
  try {
    const kept = sessionStorage.getItem(LOGIN);
    if (kept === null) return null;
    sessionStorage.removeItem(LOGIN);
    history.replaceState(null, "", location.pathname);
    return JSON.parse(kept) as LoginProof;
  } catch {
    return null; // a browser that keeps nothing has no proof, and neither has what others wrote there
  }
}

/**
 * Three holds. A Web Lock, because browsers that save energy freeze hidden tabs that work hard unless they hold one; it is
 * the page's own, beside the job's, because Chromium looks at frames. A wake lock, which ends with every hiding of the page
 * and is asked for again. And the question before leaving.
 */
function holdForJob(): Disposable {
  const held = new AbortController();
  const { signal } = held;
  const released = new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
  void navigator.locks.request(LOCK, { mode: "shared" }, async () => await released);
  addEventListener("beforeunload", (event) => event.preventDefault(), { signal });
  document.addEventListener("visibilitychange", () => void keepAwake(signal), { signal });
  void keepAwake(signal);
  return { [Symbol.dispose]: () => held.abort() };
}

/** Refused on low battery, and absent in some browsers; the job runs without it. */
async function keepAwake(signal: AbortSignal): Promise<void> {
  if (document.visibilityState !== "visible" || !("wakeLock" in navigator)) return;
  try {
    const awake = await navigator.wakeLock.request("screen");
    if (signal.aborted) await awake.release();
    else signal.addEventListener("abort", () => void awake.release(), { once: true });
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
  }
}

/** Frames stop while a page is hidden, but its title has to go on: a timer, which browsers slow to a second, takes over. */
function newestPerFrame<T>(apply: (value: T) => void): (value: T) => void {
  let newest: { readonly value: T } | null = null;
  const flush = () => {
    if (!newest) return;
    const { value } = newest;
    newest = null;
    apply(value);
  };
  return (value) => {
    const waiting = newest !== null;
    newest = { value };
    if (waiting) return;
    if (document.visibilityState === "visible") requestAnimationFrame(flush);
    else setTimeout(flush, HIDDEN_INTERVAL_MS);
  };
}
