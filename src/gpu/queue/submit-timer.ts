// Milliseconds that each submit held the GPU: by timestamp queries where the adapter has them, else by the clock
// between submit and completion, which also counts waiting and is therefore an upper bound.

import { invariant } from "../../errors.ts";
import type { GpuMemory, LedgerBuffer } from "../memory.ts";

/** Passes of one submit that can be timed; the queue submits before it opens more. */
export const MAX_TIMED_PASSES = 31;
/** One for the start, one for the end of each pass. */
const QUERIES = MAX_TIMED_PASSES + 1;
const BYTES = QUERIES * 8;
const NANOSECONDS_PER_MS = 1_000_000n;

/** GPU bytes of the timer's buffers for so many submits in flight. */
export function timerBytes(inFlight: number): number {
  return inFlight * 2 * BYTES;
}

export interface TimedSubmit {
  /** To be called before anything is recorded. */
  start(encoder: GPUCommandEncoder): void;
  /** Where pass number `pass` writes when it ended; undefined without timestamp queries. */
  timestampWrites(pass: number): GPUComputePassTimestampWrites | undefined;
  /** To be called before the encoder is finished. */
  resolve(encoder: GPUCommandEncoder, passes: number): void;
  /** To be called right after the submit; settles when the GPU is done. */
  milliseconds(): Promise<number>;
}

interface QuerySlot {
  readonly queries: GPUQuerySet;
  readonly resolved: LedgerBuffer;
  readonly readable: LedgerBuffer;
}

export class SubmitTimer implements Disposable {
  readonly #device: GPUDevice;
  readonly #free: QuerySlot[] = [];
  readonly #all: QuerySlot[] = [];
  #lastDone = 0;

  private constructor(device: GPUDevice) {
    this.#device = device;
  }

  /** Makes query slots for `inFlight` submits if the device has the `timestamp-query` feature. */
  static async create(device: GPUDevice, memory: GpuMemory, inFlight: number): Promise<SubmitTimer> {
    const timer = new SubmitTimer(device);
    if (!device.features.has("timestamp-query")) return timer;
    const { QUERY_RESOLVE, COPY_SRC, COPY_DST, MAP_READ } = GPUBufferUsage;
    const resolving = { label: "timestamps", bytes: BYTES, usage: QUERY_RESOLVE | COPY_SRC };
    const reading = { label: "timestamps readback", bytes: BYTES, usage: COPY_DST | MAP_READ };
    const buffers: readonly LedgerBuffer[] = await memory.allocateAll(
      Array.from({ length: 2 * inFlight }, (_, at) => (at < inFlight ? resolving : reading)),
    );
    for (const [at, resolved] of buffers.slice(0, inFlight).entries()) {
      const readable = buffers[inFlight + at];
      invariant(readable, "two buffers for each submit");
      const queries = device.createQuerySet({ type: "timestamp", count: QUERIES });
      const slot = { queries, resolved, readable };
      timer.#free.push(slot);
      timer.#all.push(slot);
    }
    return timer;
  }

  begin(): TimedSubmit {
    const slot = this.#free.pop();
    return slot ? this.#byQueries(slot) : this.#byClock();
  }

  [Symbol.dispose](): void {
    for (const { queries, resolved, readable } of this.#all.splice(0)) {
      queries.destroy();
      resolved[Symbol.dispose]();
      readable[Symbol.dispose]();
    }
  }

  #byQueries(slot: QuerySlot): TimedSubmit {
    const { queries, resolved, readable } = slot;
    let passes = 0;
    return {
      // A pass is said to begin while copies before it still run, but an empty one ends when all before it is done.
      start: (encoder) => {
        const timestampWrites = { querySet: queries, endOfPassWriteIndex: 0 };
        encoder.beginComputePass({ label: "start", timestampWrites }).end();
      },
      timestampWrites: (pass) => ({ querySet: queries, endOfPassWriteIndex: pass + 1 }),
      resolve: (encoder, count) => {
        passes = count;
        if (count === 0) return;
        encoder.resolveQuerySet(queries, 0, count + 1, resolved.buffer, 0);
        encoder.copyBufferToBuffer(resolved.buffer, 0, readable.buffer, 0, (count + 1) * 8);
      },
      milliseconds: async () => {
        try {
          if (passes === 0) {
            await this.#device.queue.onSubmittedWorkDone();
            return 0;
          }
          const bytes = (passes + 1) * 8;
          await readable.buffer.mapAsync(GPUMapMode.READ, 0, bytes);
          const times = new BigInt64Array(readable.buffer.getMappedRange(0, bytes).slice());
          readable.buffer.unmap();
          return elapsed(times);
        } finally {
          this.#free.push(slot);
        }
      },
    };
  }

  #byClock(): TimedSubmit {
    return {
      start: () => undefined,
      timestampWrites: () => undefined,
      resolve: () => undefined,
      milliseconds: async () => {
        const submitted = performance.now();
        await this.#device.queue.onSubmittedWorkDone();
        const done = performance.now();
        const started = Math.max(submitted, this.#lastDone);
        this.#lastDone = done;
        return done - started;
      },
    };
  }
}

/** From the start to the last pass's end; drivers may reset the counter, so never negative. */
function elapsed(times: BigInt64Array): number {
  const first = times[0] ?? 0n;
  const last = times[times.length - 1] ?? 0n;
  return last > first ? Number(last - first) / Number(NANOSECONDS_PER_MS) : 0;
}
