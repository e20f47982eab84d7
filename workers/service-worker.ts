// Keeps this build's own files, so that the page opens without a network and old pages find their scripts. Nothing else is kept
// or looked at: models, data sets and the Hub go past it. A new build waits until it is told to take over.

/** Filled in by the build (scripts/fill-service-worker.ts): a digest of all files, and their paths below this script's folder. */
declare const LAYERPRESS_BUILD: string;
/** Kept from the start. */
declare const LAYERPRESS_FILES: readonly string[];
/** Large ones, kept when they are used. */
declare const LAYERPRESS_LATER: readonly string[];

const worker = self as unknown as ServiceWorkerGlobalScope;
const PREFIX = "layerpress-";
const CACHE = PREFIX + LAYERPRESS_BUILD;
/** The build before this one stays: pages that were opened with it still ask for its scripts. */
const KEPT_BUILDS = 2;

const addressOf = (path: string) => new URL(path, worker.registration.scope).href;
const PAGE = addressOf("index.html");
const first = new Set(LAYERPRESS_FILES.map(addressOf));
const later = new Set(LAYERPRESS_LATER.map(addressOf));

worker.addEventListener("install", (event) => {
  event.waitUntil(fill());
});
worker.addEventListener("activate", (event) => {
  event.waitUntil(tidy());
});
worker.addEventListener("message", ({ data }) => {
  if (data === "take over") void worker.skipWaiting();
});
worker.addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== "GET" || request.headers.has("range")) return;
  const address = url.origin + url.pathname;
  const isPage = address === worker.registration.scope;
  if (isPage || address === PAGE) event.respondWith(answer(PAGE, request));
  else if (url.search === "" && (first.has(address) || later.has(address) || isScript(address)))
    event.respondWith(answer(address, request));
});

/** A hashed file of any build. */
function isScript(address: string): boolean {
  return address.startsWith(addressOf("assets/"));
}

/** All or nothing; the browser's own cache may hold files of an older build. */
async function fill(): Promise<void> {
  const cache = await caches.open(CACHE);
  await cache.addAll([...first].map((address) => new Request(address, { cache: "reload" })));
}

async function tidy(): Promise<void> {
  const builds = (await caches.keys()).filter((name) => name.startsWith(PREFIX));
  const old = builds.filter((name) => name !== CACHE).slice(0, Math.max(0, builds.length - KEPT_BUILDS));
  await Promise.all(old.map(async (name) => await caches.delete(name)));
  await worker.clients.claim();
}

async function answer(address: string, request: Request): Promise<Response> {
  const cache = await caches.open(CACHE);
  const kept = (await cache.match(address)) ?? (address === PAGE ? undefined : await caches.match(address));
  if (kept) return kept;
  const response = await fetch(request);
  if (response.ok && later.has(address)) void cache.put(address, response.clone()).catch(() => undefined);
  return response;
}
