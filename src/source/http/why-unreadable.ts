// What is wrong where `fetch` only says that something is: it rejects with the same TypeError for a dead host, a wrong name, no
// network, an answer without CORS headers, a redirect that leads nowhere, and a body that does not unpack. Requests that differ
// in one point tell most of these apart. What each does was tried in Chromium 156.

import { NetworkError } from "../../errors.ts";
import type { Asked } from "./asked.ts";
import type { Host } from "./host.ts";

/** These requests are not waited for longer: their answer only changes a sentence. */
const PATIENCE_MS = 5000;

/** The sentence for a request that was rejected; null if nothing more can be found out. */
export async function whyUnreadable(
  host: Host,
  { url, what }: Asked,
  cause: unknown,
): Promise<NetworkError | null> {
  const headers = host.headers(url);
  const [whole, redirected, answered] = await Promise.all([
    answer(url, { headers }),
    answer(url, { headers, redirect: "manual" }),
    answer(url, { mode: "no-cors" }),
  ]);
  if (whole?.ok)
    return new NetworkError(
      `${host.name} gives ${what} as a whole, but what it answers to a request for a part of it cannot be read: it may compress byte ranges (gzip). Switch compression off there, use another server, or download the files and drop the folder here.`,
    );
  if (
    redirected &&
    (redirected.type === "opaqueredirect" || (redirected.status >= 300 && redirected.status < 400))
  )
    return new NetworkError(
      `${host.name} redirects the request for ${what}, but the redirect cannot be followed: it leads in a circle, or to a server that does not let other pages fetch from it (no CORS headers). Use the address that it should lead to.`,
    );
  // Servers that allow other pages to fetch often forget it where there is no such file: who asks needs the cause.
  return answered?.type === "opaque"
    ? new NetworkError(
        `${host.name} cannot be reached from this page: it answers, but does not let other pages fetch ${what} from it (no CORS headers). Use a server that does, or download the files and drop the folder here.`,
        { cause },
      )
    : null;
}

/** The head of an answer; null if there is none. */
async function answer(url: string, init: RequestInit): Promise<Response | null> {
  const signal = AbortSignal.timeout(PATIENCE_MS);
  try {
    const response = await fetch(url, { cache: "no-store", referrerPolicy: "no-referrer", ...init, signal });
    await response.body?.cancel();
    return response;
  } catch {
    return null;
  }
}
