import { waitLater } from "./wait-later.ts";

/** Parts of a whole that end together: where one fails, the others end at their next look, and none begins. */
export interface JointWork {
  /**
   * Runs a part.
   * @throws what failed first of all parts, which this one may have failed of
   */
  part<Result>(work: () => Promise<Result>): Promise<Result>;
  /** The same of a part that has begun, and is no unhandled failure before it is waited for. */
  watch<Result>(working: Promise<Result>): Promise<Result>;
  /** Ends the parts as if one of them had failed of this. */
  fail(error: unknown): void;
  /** @throws what failed first, if anything has */
  check(): void;
  /**
   * What is waited for, given up as soon as a part fails: only for what uses nothing that is given back then.
   * @throws what failed first
   */
  unlessFailed<Result>(waiting: Promise<Result>): Promise<Result>;
  /** Resolves when no part is at work, however they ended. */
  ended(): Promise<void>;
}

export function createJointWork(): JointWork {
  let first: { readonly error: unknown } | null = null;
  const running = new Set<Promise<unknown>>();
  const leaving = new Set<(error: unknown) => void>();
  const check = () => {
    if (first) throw first.error;
  };
  const fail = (error: unknown) => {
    first ??= { error };
    for (const leave of leaving) leave(first.error);
  };
  const watched = async <Result>(working: Promise<Result>): Promise<Result> => {
    running.add(working);
    try {
      return await working;
    } catch (error) {
      fail(error);
      check();
      throw error;
    } finally {
      running.delete(working);
    }
  };
  return {
    fail,
    check,
    async part(work) {
      check();
      return await watched(work());
    },
    watch: (working) => waitLater(watched(working)),
    async unlessFailed(waiting) {
      // Not a race with one promise for all: that would keep what every one of them came to.
      let leave: (error: unknown) => void = () => undefined;
      const failing = new Promise<never>((_, reject) => {
        leave = reject;
      });
      leaving.add(leave);
      if (first) leave(first.error);
      try {
        return await Promise.race([failing, waiting]);
      } finally {
        leaving.delete(leave);
      }
    },
    async ended() {
      while (running.size > 0) await Promise.allSettled(running);
    },
  };
}

/**
 * What comes of `begin`, which may begin parts that go on behind it. Where it or one of them fails before it has ended, all have ended
 * before that is told: what they work with may be given back then.
 * @param joint what they are parts of; it is no part of another one that waits for it
 * @throws what failed first
 */
export async function beginJointly<Result>(
  begin: (joint: JointWork) => Promise<Result>,
  joint = createJointWork(),
): Promise<Result> {
  try {
    return await joint.part(async () => await begin(joint));
  } catch (error) {
    await joint.ended();
    throw error;
  }
}
