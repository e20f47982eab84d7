// How every worker is started, by the page and by other workers.

/** Trusted Types as far as they are used here: TypeScript's library does not have them, nor do all browsers. */
interface TrustedTypesFactory {
  createPolicy(
    name: string,
    rules: { createScriptURL: (url: string) => string },
  ): { createScriptURL(url: string): string };
}

/** The one place that turns text into a script; the page's policy refuses every other. */
const scriptPolicy = (
  globalThis as { readonly trustedTypes?: TrustedTypesFactory }
).trustedTypes?.createPolicy("layerpress-worker", { createScriptURL: (url) => url });

/** An address as a script's, for what takes no other. */
export function trustedScriptUrl(url: string): unknown {
  return scriptPolicy?.createScriptURL(url) ?? url;
}

/**
 * Starts a worker that obeys the page's Content-Security-Policy. A worker loaded from its URL takes its policy from that
 * response's headers, which a static host does not send, so it could ask any host for anything; a worker from a blob takes
 * the policy of who made the blob. So the blob is one import of the script. Tried in Chromium 156 with the built page under a
 * sub-path and connect-src narrowed to one host: the worker's fetch to another host is refused, where a worker started by URL
 * gets an answer. The script keeps its own address in `import.meta.url`, so its dynamic imports, assets and WebAssembly load;
 * only `self.location` is the blob's. Chromium checks the import against worker-src, which therefore names 'self' beside blob:.
 * @param base what an address that is not absolute is relative to
 */
export function startWorker(scriptUrl: string, base: string, name: string): Worker {
  const absolute = new URL(scriptUrl, base).href;
  const blob = new Blob([`import ${JSON.stringify(absolute)};`], { type: "text/javascript" });
  const url = URL.createObjectURL(blob);
  return new Worker(scriptPolicy?.createScriptURL(url) ?? url, { type: "module", name });
}
