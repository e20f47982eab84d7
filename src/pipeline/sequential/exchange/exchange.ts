// What jobs that share samples tell each other, as files by name at an address. The other end (`scripts/cli/exchange/exchange-files.ts`)
// knows whether the others live; here is asked again and again, so that a job that waits can be cancelled. Bytes go through a
// window where the other end finds it, else as bodies of requests.

import type { JobShare } from "../../../api/job-options.ts";
import { ExchangeError } from "../../../errors.ts";
import {
  type ExchangeWindow,
  SLOT_BYTES,
  slotQuery,
  type WindowSlot,
} from "../../../formats/files/exchange-window.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** A file that is waited for. */
interface Wanted {
  /** The share that gives it. */
  readonly from: number;
  /** What it holds, for the sentence that says what is missing. */
  readonly what: string;
  /** Asked again and again while it is waited for; throws what ends the waiting. */
  readonly check?: () => void;
}

/** A file of at most a slot's bytes, without an array of its own. */
export interface ShortFile {
  readonly name: string;
  readonly bytes: number;
}

export interface Exchange {
  /** Writes a file for the others; it appears whole or not at all. */
  put(name: string, parts: readonly Bytes[]): Promise<void>;
  /** The same with what `make` writes, each part to its place. */
  putShort(file: ShortFile, make: (write: (part: Bytes, at: number) => void) => Promise<void>): Promise<void>;
  /** True if the file is there. */
  has(name: string): Promise<boolean>;
  /** A file of another share, once it is there; `room` may lend memory for it. */
  take(name: string, wanted: Wanted, room?: Room): Promise<Bytes>;
  /**
   * The same for who reads its parts as often as `use` is at work.
   * @throws ExchangeError, too, if it has another length
   */
  takeShort(
    file: ShortFile,
    wanted: Wanted,
    use: (read: (to: Bytes, at: number) => void) => Promise<void>,
  ): Promise<void>;
  /** Removes files that nobody reads any more. */
  drop(names: readonly string[]): Promise<void>;
}

/** Status of a file that is not there yet, and whose author lives. */
const NOT_YET = 202;

/** Asks the other end. @throws ExchangeError with its sentence */
type Ask = (name: string, init: RequestInit, query?: Query) => Promise<Response>;

type Query = Record<string, string>;
/** An array of so many bytes, whatever they are. */
type Room = (bytes: number) => Bytes;

/** How bytes of files go. */
interface Carrier extends Pick<Exchange, "put" | "putShort"> {
  /** Null of a file that is not there yet. */
  take(name: string, query: Query, room: Room): Promise<Bytes | null>;
  /** False of a file that is not there yet. */
  takeShort(
    file: ShortFile,
    query: Query,
    use: (read: (to: Bytes, at: number) => void) => Promise<void>,
  ): Promise<boolean>;
}

/**
 * @param checkpoint is waited for between two questions
 * @param window a file that the other end may find; closed by whom it belongs to
 * @throws ExchangeError, from each of the exchange's functions, with the other end's sentence
 */
export async function openExchange(
  { exchange }: Pick<JobShare, "exchange">,
  checkpoint: () => Promise<void>,
  window: ExchangeWindow | null,
): Promise<Exchange> {
  const reach: Ask = async (name, init, query = {}) => {
    try {
      const words = String(new URLSearchParams(query));
      const address = `${exchange}${name}${words === "" ? "" : `?${words}`}`;
      return await fetch(address, { ...init, cache: "no-store" });
    } catch (cause) {
      throw new ExchangeError(`The files of the other shares cannot be reached any more: ${String(cause)}.`, {
        cause,
      });
    }
  };
  const ask: Ask = async (...question) => {
    const response = await reach(...question);
    if (response.ok) return response;
    throw new ExchangeError(await response.text());
  };
  const isFound = window && (await reach("", { method: "PUT" }, { window: window.mark })).ok;
  const carrier = isFound ? throughWindow(ask, window) : inBodies(ask);
  const untilThere = async <Taken>(
    { from, what, check }: Wanted,
    take: (query: Query) => Promise<Taken | null>,
  ): Promise<Taken> => {
    for (;;) {
      await checkpoint();
      check?.();
      const taken = await take({ from: String(from), what });
      if (taken !== null) return taken;
    }
  };
  return {
    put: async (name, parts) => await carrier.put(name, parts),
    putShort: async (file, make) => await carrier.putShort(file, make),
    has: async (name) => (await reach(name, { method: "HEAD" })).ok,
    take: async (name, wanted, room = (bytes) => new Uint8Array(bytes)) =>
      await untilThere(wanted, async (query) => await carrier.take(name, query, room)),
    async takeShort(file, wanted, use) {
      await untilThere(wanted, async (query) => (await carrier.takeShort(file, query, use)) || null);
    },
    async drop(names) {
      if (names.length > 0) await ask("", { method: "DELETE", body: JSON.stringify(names) });
    },
  };
}

function checkLength({ name, bytes }: ShortFile, is: number): void {
  if (is === bytes) return;
  throw new ExchangeError(
    `${name} of the exchange has ${is} bytes where ${bytes} are due. Delete the exchange folder and begin all shares again.`,
  );
}

function inBodies(ask: Ask): Carrier {
  const put = async (name: string, parts: readonly Bytes[]) =>
    void (await ask(name, { method: "PUT", body: new Blob([...parts]) }));
  const take = async (name: string, query: Query) => {
    const response = await ask(name, {}, query);
    return response.status === NOT_YET ? null : new Uint8Array(await response.arrayBuffer());
  };
  return {
    put,
    async putShort({ name, bytes }, make) {
      const file = new Uint8Array(bytes);
      await make((part, at) => file.set(part, at));
      await put(name, [file]);
    },
    take,
    async takeShort(file, query, use) {
      const bytes = await take(file.name, query);
      if (!bytes) return false;
      checkLength(file, bytes.byteLength);
      await use((to, at) => to.set(bytes.subarray(at, at + to.byteLength)));
      return true;
    },
  };
}

function throughWindow(ask: Ask, window: ExchangeWindow): Carrier {
  /** Asks for a file's beginning, as much as a slot holds; resolves to its length, null if it is not there yet. */
  const begin = async (name: string, query: Query, slot: WindowSlot) => {
    const words = slotQuery({ slot: slot.index, bytes: 0, at: 0, of: 0 });
    const response = await ask(name, {}, { ...query, ...words });
    return response.status === NOT_YET ? null : Number(await response.text());
  };
  return {
    async put(name, parts) {
      const of = parts.reduce((sum, { byteLength }) => sum + byteLength, 0);
      await window.lend(async (slot) => {
        let at = 0;
        for (const segment of segmentsOf(parts)) {
          const bytes = writeSegment(slot, segment);
          await ask(name, { method: "PUT" }, slotQuery({ slot: slot.index, bytes, at, of }));
          at += bytes;
        }
      });
    },
    async putShort({ name, bytes }, make) {
      await window.lend(async (slot) => {
        await make((part, at) => slot.write(part, at));
        await ask(name, { method: "PUT" }, slotQuery({ slot: slot.index, bytes, at: 0, of: bytes }));
      });
    },
    take: async (name, query, room) =>
      await window.lend(async (slot) => {
        const length = await begin(name, query, slot);
        if (length === null) return null;
        const bytes = room(length);
        for (let at = 0; at < length; at += SLOT_BYTES) {
          const part = { slot: slot.index, bytes: Math.min(SLOT_BYTES, length - at), at, of: length };
          // The first ones came with the answer.
          if (at > 0) await ask(name, {}, { ...query, ...slotQuery(part) });
          slot.read(bytes.subarray(at, at + part.bytes), 0);
        }
        return bytes;
      }),
    takeShort: async (file, query, use) =>
      await window.lend(async (slot) => {
        const length = await begin(file.name, query, slot);
        if (length === null) return false;
        checkLength(file, length);
        await use((to, at) => slot.read(to, at));
        return true;
      }),
  };
}

/** The bytes of all parts in order, cut so that each segment fits into a slot; one that is empty if there are none. */
function segmentsOf(parts: readonly Bytes[]): Bytes[][] {
  const segments: Bytes[][] = [];
  let segment: Bytes[] = [];
  let room = SLOT_BYTES;
  for (const part of parts) {
    for (let at = 0; at < part.byteLength;) {
      const piece = part.subarray(at, at + room);
      segment.push(piece);
      at += piece.byteLength;
      room -= piece.byteLength;
      if (room > 0) continue;
      segments.push(segment);
      segment = [];
      room = SLOT_BYTES;
    }
  }
  if (segment.length > 0 || segments.length === 0) segments.push(segment);
  return segments;
}

function writeSegment(slot: WindowSlot, segment: readonly Bytes[]): number {
  let at = 0;
  for (const piece of segment) {
    slot.write(piece, at);
    at += piece.byteLength;
  }
  return at;
}
