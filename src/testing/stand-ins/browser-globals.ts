// What every browser with WebGPU has and Node 20 lacks, for tests that run browser code in Node.

import { GPU_GLOBALS } from "./stub-gpu.ts";

export function provideBrowserGlobals(): void {
  Object.assign(globalThis, GPU_GLOBALS);
  const promise: { withResolvers?: unknown } = Promise;
  promise.withResolvers ??= withResolvers;
  const map: { groupBy?: unknown } = Map;
  map.groupBy ??= groupBy;
}

function withResolvers<Value>() {
  let resolve: (value: Value) => void = () => undefined;
  let reject: (reason: unknown) => void = () => undefined;
  const promise = new Promise<Value>((...settle) => ([resolve, reject] = settle));
  return { promise, resolve, reject };
}

function groupBy<Key, Item>(items: Iterable<Item>, keyOf: (item: Item) => Key): Map<Key, Item[]> {
  const groups = new Map<Key, Item[]>();
  for (const item of items) {
    const group = groups.get(keyOf(item));
    if (group) group.push(item);
    else groups.set(keyOf(item), [item]);
  }
  return groups;
}
