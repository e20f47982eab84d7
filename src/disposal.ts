// Explicit resource management where the browser lacks a part of it (Chrome before 134, Safari 26): the build lowers
// `using`, but neither makes the symbol nor DisposableStack. Workers and page import this first.

const symbols = Symbol as { dispose?: symbol; asyncDispose?: symbol };
symbols.dispose ??= Symbol.for("Symbol.dispose");
symbols.asyncDispose ??= Symbol.for("Symbol.asyncDispose");

/** Things that live as long as each other; disposed in the reverse order of their making. */
export interface Lifetime extends Disposable {
  use<Resource extends Disposable>(resource: Resource): Resource;
}

export function createLifetime(): Lifetime {
  const resources: Disposable[] = [];
  return {
    use(resource) {
      resources.push(resource);
      return resource;
    },
    [Symbol.dispose]() {
      for (let last = resources.pop(); last; last = resources.pop()) last[Symbol.dispose]();
    },
  };
}

/** Opens what consists of parts: they are disposed of with it, or at once where one of them cannot be had. */
export async function openTogether<Opened extends object>(
  open: (parts: Lifetime) => Promise<Opened>,
): Promise<Opened & Disposable> {
  const parts = createLifetime();
  try {
    return { ...(await open(parts)), [Symbol.dispose]: () => parts[Symbol.dispose]() };
  } catch (error) {
    parts[Symbol.dispose]();
    throw error;
  }
}
