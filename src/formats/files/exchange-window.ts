// A file of the page's storage that the command beside its browser finds on the disk: in it, bytes go from one to the other by
// writing and reading a file, where an HTTP body passes three processes and two sockets in pieces of some KiB.

/** What one request moves at most. */
export const SLOT_BYTES = 16 * 1024 ** 2;
/** Eight pieces that a share gives, and six files that it waits for, each have one. */
export const SLOTS = 14;
export const WINDOW_BYTES = SLOTS * SLOT_BYTES;

/** True of what a window begins with, to be told from all other files: a UUID. */
export function isWindowMark(text: string): boolean {
  return /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(text);
}

/** Bytes of a file in a slot of the window. */
export interface SlotPart {
  readonly slot: number;
  readonly bytes: number;
  /** Bytes of the file in front of them. */
  readonly at: number;
  /** Bytes of the whole file. */
  readonly of: number;
}

/** The part that a question's words tell of; null if they tell of none that a window has. */
export function readSlotPart(query: URLSearchParams): SlotPart | null {
  const number = (name: string) => Number(query.get(name) ?? Number.NaN);
  const part = { slot: number("slot"), bytes: number("bytes"), at: number("at"), of: number("of") };
  const { slot, bytes, at, of } = part;
  const isWhole = Object.values(part).every((value) => Number.isSafeInteger(value) && value >= 0);
  return isWhole && slot < SLOTS && bytes <= SLOT_BYTES && at + bytes <= of ? part : null;
}

/** The words of a question that tells of a part. */
export function slotQuery(part: SlotPart): Record<string, string> {
  return Object.fromEntries(Object.entries(part).map(([name, value]) => [name, String(value)]));
}

/** The page's end. */
export interface ExchangeWindow extends Disposable {
  /** What the file begins with until its first slot is written. */
  readonly mark: string;
  /** Lends one of its slots to `use`; waits for one where all are lent. */
  lend<Result>(use: (slot: WindowSlot) => Promise<Result>): Promise<Result>;
}

export interface WindowSlot {
  readonly index: number;
  /** Writes bytes at a place of the slot. @throws StorageError */
  write(bytes: Uint8Array<ArrayBuffer>, at: number): void;
  /** Fills `to` from a place of the slot on. @throws StorageError */
  read(to: Uint8Array<ArrayBuffer>, at: number): void;
}
