// Room on the GPU that goes from a layer's weights to the next one's: those are on their way before the GPU has done with the layer,
// and nothing is asked for anew.

import type { Gpu } from "../../../gpu/gpu.ts";
import type { BufferRequest, LedgerBuffer } from "../../../gpu/memory.ts";

/** Rows of a layout: what lies between them stays as it was, zero. */
export interface RoomRequest extends BufferRequest {
  /** Dtype and distance of rows. */
  readonly layout: string;
}

export interface WeightRooms extends Disposable {
  /**
   * A buffer each, made for it or given back by one of the same size and layout. Others that were given back are given up before any is
   * made.
   * @throws DeviceLimitError if they do not fit
   */
  take(requests: readonly RoomRequest[]): Promise<LedgerBuffer[]>;
  /** Lets others have them; commands that use them may still be at work. */
  giveBack(rooms: Iterable<LedgerBuffer>): void;
}

interface Room {
  readonly key: string;
  readonly buffer: LedgerBuffer;
}

export function createWeightRooms(gpu: Pick<Gpu, "memory" | "queue">): WeightRooms {
  const keys = new WeakMap<LedgerBuffer, string>();
  let spare: Room[] = [];
  const giveBack = (rooms: Iterable<LedgerBuffer>) => {
    for (const buffer of rooms) spare.push({ buffer, key: keys.get(buffer) ?? "" });
  };
  const giveUp = () => {
    for (const { buffer } of spare) buffer[Symbol.dispose]();
    spare = [];
  };
  const find = (key: string) => {
    const at = spare.findIndex((room) => room.key === key);
    return at < 0 ? null : (spare.splice(at, 1)[0]?.buffer ?? null);
  };
  return {
    async take(requests) {
      const keyOf = ({ layout, bytes }: RoomRequest) => `${layout}, ${bytes} bytes`;
      const found = requests.map((request) => find(keyOf(request)));
      try {
        // What the ledger counts no more the GPU may not hold either.
        if (spare.length > 0) await gpu.queue.idle();
        giveUp();
        const lacking = requests.filter((_, index) => !found[index]);
        const made = await gpu.memory.allocateAll(lacking);
        made.forEach((buffer, index) => {
          const request = lacking[index];
          if (request) keys.set(buffer, keyOf(request));
        });
        const next = made.values();
        return found.flatMap((buffer) => buffer ?? next.next().value ?? []);
      } catch (error) {
        giveBack(found.filter((buffer) => buffer !== null));
        throw error;
      }
    },
    giveBack,
    [Symbol.dispose]: giveUp,
  };
}
