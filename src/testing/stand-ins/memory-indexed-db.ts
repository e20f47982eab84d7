// IndexedDB in memory, as much of it as idb-keyval and the chunk store use: databases of one object store without a key path.
// Every put, deletion and clearing is counted, and the world can end, or the quota be used up, at any of them.

import { Crash } from "./crash.ts";

/**
 * What happens at an operation: "crash" ends the world, and its transaction is undone; "torn" ends it too, but what the
 * transaction did before stays, and the value itself loses its second half, which is more than browsers let happen; "quota"
 * refuses puts from there on; "broken" refuses everything from there on, reading and opening included; "silent" answers nothing
 * from there on.
 */
export type IndexedDbFault = "crash" | "torn" | "quota" | "broken" | "silent";

export interface MemoryIndexedDb {
  /** Puts, deletions and clearings so far. */
  readonly operations: number;
  /** What `indexedDB` is in the world of now. */
  readonly factory: IDBFactory;
  failAt(operation: number, how: IndexedDbFault): void;
  /** Begins another world, on what the last one left; whatever still runs of that one finds nothing but its end. */
  recover(): void;
  /** Keys and values of a database, in order. */
  records(name: string): [IDBValidKey, unknown][];
}

type Records = Map<string, { readonly key: IDBValidKey; readonly value: unknown }>;

interface World {
  readonly databases: ReadonlyMap<string, Records>;
  readonly create: (name: string) => void;
  operations: number;
  failAt: number;
  how: IndexedDbFault;
  dead: boolean;
}

export function createMemoryIndexedDb(): MemoryIndexedDb {
  const databases = new Map<string, Records>();
  const begin = (operations: number): World => ({
    databases,
    create: (name) => void databases.set(name, new Map()),
    operations,
    failAt: Number.POSITIVE_INFINITY,
    how: "crash",
    dead: false,
  });
  let world = begin(0);
  return {
    get operations() {
      return world.operations;
    },
    get factory() {
      return createFactory(world);
    },
    failAt(operation, how) {
      world.failAt = operation;
      world.how = how;
    },
    recover() {
      world.dead = true;
      world = begin(world.operations);
    },
    records: (name) =>
      [...(databases.get(name)?.values() ?? [])]
        .toSorted((a, b) => compareKeys(a.key, b.key))
        .map(({ key, value }) => [key, value]),
  };
}

/** At a later turn of the loop, as events come. */
function later(run: () => void): void {
  const { port1, port2 } = new MessageChannel();
  port1.addEventListener("message", () => {
    port1.close();
    run();
  });
  port1.start();
  port2.postMessage(null);
}

function isSilent({ how, operations, failAt }: World): boolean {
  return how === "silent" && operations >= failAt;
}

/** `IDBKeyRange`, of which bound() alone is used. */
export const MEMORY_KEY_RANGE = {
  bound: (lower: IDBValidKey, upper: IDBValidKey) => ({ lower, upper }),
};

/** @throws Crash, or what a broken store gives */
function expectAlive(world: World): void {
  if (world.dead) throw new Crash();
  if (world.how === "broken" && world.operations >= world.failAt)
    throw new DOMException("Internal error opening backing store for indexedDB.open.", "UnknownError");
}

function createFactory(world: World): IDBFactory {
  const factory = {
    open(name: string) {
      const request = createRequest();
      later(() => {
        if (isSilent(world)) return undefined;
        try {
          expectAlive(world);
        } catch (error) {
          return request.fail(error);
        }
        const isNew = !world.databases.has(name);
        request.result = createDatabase(world, name);
        if (isNew) request.onupgradeneeded?.();
        request.onsuccess?.();
      });
      return request;
    },
  };
  return factory as unknown as IDBFactory;
}

/** Members as the real ones call them. */
interface MemoryRequest {
  result: unknown;
  error: unknown;
  onsuccess: (() => void) | null;
  onerror: (() => void) | null;
  onupgradeneeded: (() => void) | null;
  fail(error: unknown): void;
}

function createRequest(): MemoryRequest {
  return {
    result: undefined,
    error: null,
    onsuccess: null,
    onerror: null,
    onupgradeneeded: null,
    fail(error) {
      this.error = error;
      this.onerror?.();
    },
  };
}

function createDatabase(world: World, name: string) {
  return {
    createObjectStore: () => world.create(name),
    transaction() {
      expectAlive(world);
      return createTransaction(world, name);
    },
  };
}

type Step = (records: Records) => unknown;

/** All requests of a transaction are made at once, as its users do, and run at once, at the next turn. */
function createTransaction(world: World, name: string) {
  const steps: { readonly request: MemoryRequest; readonly run: Step }[] = [];
  const transaction = {
    error: null as unknown,
    oncomplete: null as (() => void) | null,
    onabort: null as (() => void) | null,
    objectStore: () => store,
  };
  const ask = (run: Step): MemoryRequest => {
    const request = createRequest();
    steps.push({ request, run });
    return request;
  };
  const store = { transaction, ...storeMethods(world, ask) };
  later(() => {
    const before = world.databases.get(name) ?? new Map();
    const records: Records = new Map(before);
    let failed: unknown = null;
    for (const { request, run } of steps) {
      try {
        expectAlive(world);
        request.result = run(records);
      } catch (error) {
        failed ??= error;
        request.fail(error);
      }
    }
    if (isSilent(world)) return undefined;
    if (failed === null || world.how === "torn") replace(before, records);
    if (failed !== null) {
      for (const { request } of steps) if (request.error === null) request.fail(failed);
      transaction.error = failed;
      return transaction.onabort?.();
    }
    for (const { request } of steps) request.onsuccess?.();
    return later(() => transaction.oncomplete?.());
  });
  return transaction;
}

function replace(before: Records, after: Records): void {
  before.clear();
  for (const [id, record] of after) before.set(id, record);
}

function storeMethods(world: World, ask: (run: Step) => MemoryRequest) {
  const found = (records: Records, range: unknown) =>
    [...records.values()]
      .filter(({ key }) => isWithin(key, range))
      .toSorted((a, b) => compareKeys(a.key, b.key));
  return {
    get: (key: IDBValidKey) => ask((records) => structuredClone(records.get(JSON.stringify(key))?.value)),
    getAll: () => ask((records) => found(records, null).map(({ value }) => structuredClone(value))),
    getAllKeys: (range: unknown) => ask((records) => found(records, range).map(({ key }) => key)),
    put: (value: unknown, key: IDBValidKey) =>
      ask((records) => {
        const taken = change(world, structuredClone(value));
        if (taken !== undefined) records.set(JSON.stringify(key), { key, value: taken });
        endIfDead(world);
      }),
    delete: (range: unknown) =>
      ask((records) => {
        change(world, null);
        endIfDead(world);
        for (const { key } of found(records, range)) records.delete(JSON.stringify(key));
      }),
    clear: () =>
      ask((records) => {
        change(world, null);
        endIfDead(world);
        records.clear();
      }),
  };
}

/** Counts an operation; returns what is left of the value that it stores, undefined for nothing. */
function change(world: World, value: unknown): unknown {
  world.operations++;
  if (world.operations < world.failAt || world.how === "silent") return value;
  if (world.how === "quota") {
    if (value === null) return value;
    throw new DOMException("Encountered full disk while committing.", "QuotaExceededError");
  }
  expectAlive(world);
  world.dead = true;
  const isTorn = world.how === "torn" && value instanceof ArrayBuffer;
  return isTorn ? value.slice(0, value.byteLength / 2) : undefined;
}

function endIfDead(world: World): void {
  if (world.dead) throw new Crash();
}

function isWithin(key: IDBValidKey, range: unknown): boolean {
  if (range === null || range === undefined) return true;
  if (Array.isArray(range) || typeof range !== "object") return compareKeys(key, range as IDBValidKey) === 0;
  const { lower, upper } = range as { readonly lower: IDBValidKey; readonly upper: IDBValidKey };
  return compareKeys(key, lower) >= 0 && compareKeys(key, upper) <= 0;
}

/** The order of keys: numbers, strings, arrays (Indexed Database API 3.0, "compare two keys"). */
function compareKeys(a: IDBValidKey, b: IDBValidKey): number {
  const kind = (key: IDBValidKey) => (Array.isArray(key) ? 2 : typeof key === "string" ? 1 : 0);
  if (kind(a) !== kind(b)) return kind(a) - kind(b);
  if (!Array.isArray(a) || !Array.isArray(b)) return a < b ? -1 : a > b ? 1 : 0;
  for (const [index, own] of a.entries()) {
    const other = b[index];
    if (other === undefined) return 1;
    const order = compareKeys(own, other);
    if (order !== 0) return order;
  }
  return a.length - b.length;
}
