// Who is being asked: what an origin may be sent, and what its refusals mean.

import { AccessError } from "../../errors.ts";

/** What a host is made of, for another thread to make it anew. */
export type HostAccess =
  | { readonly kind: "web"; readonly url: string }
  | { readonly kind: "hub"; readonly access: HubAccess };

export interface Host {
  /** For sentences: "huggingface.co", "models.example.org". */
  readonly name: string;
  /** Request headers for a URL; a token goes to the Hub's exact origin and nowhere else. */
  headers(url: string): Record<string, string>;
  /** Milliseconds over which it counts requests; 0 where that is not known. */
  readonly rateWindowMs: number;
  /**
   * What a 401, 403 or 404 for `what` (a file, or the repository itself) means here.
   * @param code the Hub's X-Error-Code, or null
   */
  refusal(status: number, code: string | null, what: string): AccessError;
}

/** Any server with plain folders. */
export function webHost(url: string): FileHost {
  const { host } = new URL(url);
  return {
    madeOf: { kind: "web", url },
    name: host,
    headers: () => ({}),
    rateWindowMs: 0,
    refusal: (status, _code, what) =>
      new AccessError(
        status === 404
          ? `${host} has no ${what} at this address (404). Check the address.`
          : `${host} refuses ${what} (${status}): it needs a login that this page cannot give, or the signature in the address has expired.`,
      ),
  };
}

/** A host of a model's files, which any thread may ask. */
export interface FileHost extends Host {
  readonly madeOf: HostAccess;
}

export interface HubAccess {
  readonly hubUrl: string;
  readonly repository: string;
  readonly revision: string | null;
  readonly token: string | null;
}

/** The Hub counts requests over five minutes, and hides its Retry-After. */
export const HUB_RATE_WINDOW_MS = 300_000;

/** The Hub, seen from one repository. */
export function hubHost(access: HubAccess): FileHost {
  const { origin, host } = new URL(access.hubUrl);
  const { token } = access;
  return {
    madeOf: { kind: "hub", access },
    name: host,
    rateWindowMs: HUB_RATE_WINDOW_MS,
    headers(url): Record<string, string> {
      return token && new URL(url).origin === origin ? { Authorization: `Bearer ${token}` } : {};
    },
    refusal: (status, code, what) => new AccessError(hubSentence(access, status, code, what)),
  };
}

export function makeHost(madeOf: HostAccess): FileHost {
  return madeOf.kind === "hub" ? hubHost(madeOf.access) : webHost(madeOf.url);
}

/** The Hub hides what one may not see: to a stranger, "private" and "absent" are the same 401. */
function hubSentence(access: HubAccess, status: number, code: string | null, what: string): string {
  const { repository, token } = access;
  const page = `${access.hubUrl}/${repository}`;
  if (code === "RevisionNotFound") {
    return `${repository} has no revision "${access.revision ?? "main"}" (404). Check the branch, tag or commit.`;
  }
  if (code === "EntryNotFound") return `${repository} has no ${what} in this revision (404).`;
  if (code === "GatedRepo") {
    return token
      ? `${repository} is gated, and the account of this token has no access to it yet (${status}). Ask for access on ${page}, then try again.`
      : `${repository} is gated (${status}): accept its licence on ${page}, then give a token of that account with read permission.`;
  }
  if (status === 404) {
    return `${repository} does not exist on ${new URL(page).host}, or this token may not see it (404). Check the name.`;
  }
  return token
    ? `${new URL(page).host} refuses the token for ${repository} (${status}): it has expired, lacks read permission, or belongs to an account without access.`
    : `${repository} does not exist on ${new URL(page).host}, or is private or gated (${status}). Check the name; if you have access, give a token with read permission.`;
}
