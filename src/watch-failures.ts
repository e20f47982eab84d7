import { waitLater } from "./wait-later.ts";

/** What fails first of what runs side by side: the rest may fail of that, and be waited for before. */
export interface WatchedFailures {
  /** The promise, whose failure is remembered, and is no unhandled one before it is waited for. */
  watch<Result>(work: Promise<Result>): Promise<Result>;
  /** @throws what failed first of all that is watched, if anything has */
  check(): void;
}

export function watchFailures(): WatchedFailures {
  let first: { readonly error: unknown } | null = null;
  return {
    watch(work) {
      const watched = work.catch((error: unknown) => {
        first ??= { error };
        throw error;
      });
      return waitLater(watched);
    },
    check() {
      if (first) throw first.error;
    },
  };
}
