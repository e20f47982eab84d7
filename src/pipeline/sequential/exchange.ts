// What jobs that share samples tell each other, as files by name at an address. The other end (`scripts/cli/exchange-files.ts`)
// knows whether the others live; here is asked again and again, so that a job that waits can be cancelled. Bytes go through a
// window where the other end finds it, else as bodies of requests.

import type { JobShare } from "../../api/job-options.ts";
import { ExchangeError } from "../../errors.ts";
import {
  type ExchangeWindow,
  SLOT_BYTES,
  type SlotPart,
  slotQuery,
  type WindowSlot,
} from "../../formats/exchange-window.ts";

type Bytes = Uint8Array<ArrayBuffer>;

export interface Exchange {
  /** Writes a file for the others; it appears whole or not at all. */
  put(name: string, parts: readonly Bytes[]): Promise<void>;
  /** True if the file is there. */
  has(name: string): Promise<boolean>;
  /**
   * A file of share `from`, once it is there.
   * @param what it holds, for the sentence that says what is missing
   * @param room memory in which the file is given if it fits and came through a window; else in memory of its own
   */
  take(name: string, wanted: { readonly from: number; readonly what: string }, room?: Bytes): Promise<Bytes>;
  /** Removes files that nobody reads any more. */
  drop(names: readonly string[]): Promise<void>;
}

/** Status of a file that is not there yet, and whose author lives. */
const NOT_YET = 202;

/** Asks the other end. @throws ExchangeError with its sentence */
type Ask = (name: string, init: RequestInit, query?: Record<string, string>) => Promise<Response>;

/** How bytes of files go. */
interface Carrier {
  put(name: string, parts: readonly Bytes[]): Promise<void>;
  /** Null of a file that is not there yet. */
  take(name: string, query: Record<string, string>, room: Bytes | null): Promise<Bytes | null>;
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
  return {
    put: async (name, parts) => await carrier.put(name, parts),
    has: async (name) => (await reach(name, { method: "HEAD" })).ok,
    async take(name, { from, what }, room) {
      for (;;) {
        await checkpoint();
        const bytes = await carrier.take(name, { from: String(from), what }, room ?? null);
        if (bytes) return bytes;
      }
    },
    async drop(names) {
      if (names.length > 0) await ask("", { method: "DELETE", body: JSON.stringify(names) });
    },
  };
}

function inBodies(ask: Ask): Carrier {
  return {
    async put(name, parts) {
      await ask(name, { method: "PUT", body: new Blob([...parts]) });
    },
    async take(name, query) {
      const response = await ask(name, {}, query);
      return response.status === NOT_YET ? null : new Uint8Array(await response.arrayBuffer());
    },
  };
}

function throughWindow(ask: Ask, window: ExchangeWindow): Carrier {
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
    take: async (name, query, room) =>
      await window.lend(async (slot) => {
        const begin = { slot: slot.index, bytes: 0, at: 0, of: 0 };
        const response = await ask(name, {}, { ...query, ...slotQuery(begin) });
        if (response.status === NOT_YET) return null;
        const length = Number(await response.text());
        const bytes = room && length <= room.byteLength ? room.subarray(0, length) : new Uint8Array(length);
        for (let at = 0; at < bytes.byteLength; at += SLOT_BYTES) {
          const part: SlotPart = {
            slot: slot.index,
            bytes: Math.min(SLOT_BYTES, bytes.byteLength - at),
            at,
            of: bytes.byteLength,
          };
          // The first ones came with the answer.
          if (at > 0) await ask(name, {}, { ...query, ...slotQuery(part) });
          slot.read(bytes.subarray(at, at + part.bytes));
        }
        return bytes;
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
