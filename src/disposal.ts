// Explicit resource management where the browser lacks a part of it (Chrome before 134, Safari 26): the build lowers
// `using`, but neither makes the symbol nor DisposableStack. Workers and page import this first.

import { allEnded } from "./all-ended.ts";

const symbols = Symbol as { dispose?: symbol; asyncDispose?: symbol };
symbols.dispose ??= Symbol.for("Symbol.dispose");
symbols.asyncDispose ??= Symbol.for("Symbol.asyncDispose");

/** Things that live as long as each other; disposed in the reverse order of their making. */
export interface Lifetime extends Disposable {
  use<Resource extends Disposable>(resource: Resource): Resource;
  useEach<Resources extends readonly Disposable[]>(resources: Resources): Resources;
  /**
   * Those of what is being opened side by side; where one fails, the others are waited for.
   * @throws the failure that came first
   */
  useAll<Openings extends readonly Promise<Disposable | null>[]>(
    openings: readonly [...Openings],
  ): Promise<{ -readonly [Index in keyof Openings]: Awaited<Openings[Index]> }>;
}

export function createLifetime(): Lifetime {
  const resources: Disposable[] = [];
  return {
    use(resource) {
      resources.push(resource);
      return resource;
    },
    useEach(own) {
      resources.push(...own);
      return own;
    },
    async useAll(openings) {
      const coming = openings.map(async (opening) => {
        const resource = await opening;
        if (resource) resources.push(resource);
      });
      await allEnded(coming);
      return await Promise.all(openings);
    },
    [Symbol.dispose]() {
      // One that throws keeps no other from being given back.
      const failures: unknown[] = [];
      for (let last = resources.pop(); last; last = resources.pop()) {
        try {
          last[Symbol.dispose]();
        } catch (error) {
          failures.push(error);
        }
      }
      if (failures.length > 0) throw failures[0];
    },
  };
}

/**
 * Makes what consists of parts, which it keeps, and disposes of with itself. Where one of them cannot be had, or what is done with them
 * fails, those that came are disposed of at once.
 */
export async function madeOf<Made>(make: (parts: Lifetime) => Promise<Made>): Promise<Made> {
  const parts = createLifetime();
  try {
    return await make(parts);
  } catch (error) {
    try {
      parts[Symbol.dispose]();
    } catch {
      // Why there is nothing to be had matters more.
    }
    throw error;
  }
}

/** The same for what is no more than its parts: they are disposed of with it. */
export async function openTogether<Opened extends object>(
  open: (parts: Lifetime) => Promise<Opened>,
): Promise<Opened & Disposable> {
  return await madeOf(async (parts) => ({
    ...(await open(parts)),
    [Symbol.dispose]: () => parts[Symbol.dispose](),
  }));
}
