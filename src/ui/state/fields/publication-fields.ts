// What the page knows of publishing a result. The token is a signal like any other and goes with the tab: nothing stores it.

import { signal } from "@preact/signals";
import type { HubAccount, Published, PublishProgress, Visibility } from "../../../api/publisher-api.ts";

export function createPublication() {
  return {
    /** As typed, or as signing in gave it. */
    token: signal(""),
    /** Whose token it is; null until the Hub has said so. */
    account: signal<HubAccount | null>(null),
    /** Null is the account itself. */
    owner: signal<string | null>(null),
    /** Name of the repository as typed; null is the result's own. */
    name: signal<string | null>(null),
    visibility: signal<Visibility>("private"),
    existing: signal(false),
    /** The licence that the result carries over; null where its source has none, or before it was read. */
    license: signal<string | null>(null),
    /** What is at work. */
    busy: signal<"signing in" | "publishing" | null>(null),
    progress: signal<PublishProgress | null>(null),
    /** What was published last, of which job. */
    published: signal<(Published & { readonly jobId: string }) | null>(null),
    /** Why something did not succeed, as a sentence. */
    problem: signal<string | null>(null),
  };
}

export type Publication = ReturnType<typeof createPublication>;
