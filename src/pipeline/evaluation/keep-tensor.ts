import { invariant } from "../../errors.ts";

/** What a source gives is brought in pieces of so many bytes: one of its chunks. */
const BLOCK_BYTES = 16 * 1024 ** 2;

/** Bytes [start, end) of a tensor; a view, which is not to be changed. */
export type ReadBytes = (start: number, end: number) => Promise<Uint8Array<ArrayBuffer>>;

/** A tensor whose bytes are read once, block by block as they are asked for, and kept in memory for whoever asks again. */
export function keepTensor(bytes: number, read: ReadBytes, blockBytes = BLOCK_BYTES): ReadBytes {
  let whole: Uint8Array<ArrayBuffer> | null = null;
  const blocks = new Map<number, Promise<void>>();
  const bring = async (block: number) => {
    const start = block * blockBytes;
    const own = await read(start, Math.min(start + blockBytes, bytes));
    invariant(whole, "there is memory for the tensor");
    whole.set(own, start);
  };
  return async (start, end) => {
    whole ??= new Uint8Array(bytes);
    const wanted: Promise<void>[] = [];
    for (let block = Math.floor(start / blockBytes); block * blockBytes < end; block++) {
      const brought = blocks.get(block) ?? bring(block);
      blocks.set(block, brought);
      wanted.push(brought);
    }
    await Promise.all(wanted);
    return whole.subarray(start, end);
  };
}
