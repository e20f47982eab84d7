// Memory for bytes on their way between jobs, lent again and again: arrays that are new cost several times what copying into them does.

import { Pool } from "../../gpu/pool.ts";

type Bytes = Uint8Array<ArrayBuffer>;

export interface PieceMemory {
  /** Lends so many bytes, whatever they hold, until `use` is done; waits for them where all are lent. */
  lend<Result>(bytes: number, use: (memory: Bytes) => Promise<Result>): Promise<Result>;
}

/** As much as `count` pieces take that are lent at a time; none before they are wanted. */
export function createPieceMemory(count: number): PieceMemory {
  const pool = new Pool<{ bytes: Bytes }>(Array.from({ length: count }, () => ({ bytes: new Uint8Array() })));
  return {
    async lend(bytes, use) {
      const memory = await pool.acquire();
      try {
        if (memory.bytes.byteLength < bytes) memory.bytes = new Uint8Array(bytes);
        return await use(memory.bytes.subarray(0, bytes));
      } finally {
        pool.release(memory);
      }
    },
  };
}
