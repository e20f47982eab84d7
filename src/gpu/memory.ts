// The ledger: every GPUBuffer of ours is created here, with a label and a size. `createBuffer` never throws, so each
// batch of allocations sits in error scopes that are awaited before the buffers are used.

import { DeviceLimitError, joinedLines, lostWhile } from "../errors.ts";
import { formatBytes } from "../formats/text/format-bytes.ts";

/** Buffer sizes, copies and writes are multiples of 4 bytes in WebGPU. */
const COPY_ALIGNMENT = 4;
/** The smallest buffer that is made: binding an empty one is an error. */
const MIN_BUFFER_BYTES = 16;

export interface BufferRequest {
  readonly label: string;
  readonly bytes: number;
  /** Defaults to STORAGE | COPY_SRC | COPY_DST. */
  readonly usage?: GPUBufferUsageFlags;
}

/** A buffer that the ledger knows. Disposing it destroys the buffer at once; garbage collection would be too late. */
export class LedgerBuffer implements Disposable {
  readonly label: string;
  readonly bytes: number;
  readonly buffer: GPUBuffer;
  readonly #release: (buffer: LedgerBuffer) => void;
  #live = true;

  constructor(buffer: GPUBuffer, release: (buffer: LedgerBuffer) => void) {
    this.buffer = buffer;
    this.label = buffer.label;
    this.bytes = buffer.size;
    this.#release = release;
  }

  [Symbol.dispose](): void {
    if (!this.#live) return;
    this.#live = false;
    this.#release(this);
    this.buffer.destroy();
  }
}

/**
 * Counts live GPU bytes against a budget, and remembers the peak. What was destroyed keeps its memory until the GPU is done with work that
 * was submitted afterwards (so Dawn's deleters have it): nothing new takes its place before.
 */
export class GpuMemory {
  readonly budgetBytes: number;
  readonly #device: GPUDevice;
  readonly #live = new Set<LedgerBuffer>();
  readonly #told = new Set<(buffer: LedgerBuffer) => void>();
  #bytes = 0;
  #peakBytes = 0;
  /** Of buffers that wait until others are gone. */
  #promisedBytes = 0;
  /** Of all buffers that were ever destroyed, and of those whose memory is known to be free again. */
  #destroyedBytes = 0;
  #goneBytes = 0;

  constructor(device: GPUDevice, budgetBytes: number) {
    this.#device = device;
    this.budgetBytes = budgetBytes;
  }

  get bytes(): number {
    return this.#bytes + this.#promisedBytes;
  }

  get peakBytes(): number {
    return this.#peakBytes;
  }

  get freeBytes(): number {
    return this.budgetBytes - this.bytes;
  }

  /** Starts a new peak from what is live now: one figure per job on a device that serves many. */
  resetPeak(): void {
    this.#peakBytes = this.#bytes;
  }

  /** What is live, largest first: for a message, or for a test that expects nothing. */
  live(): { label: string; bytes: number }[] {
    return [...this.#live]
      .map(({ label, bytes }) => ({ label, bytes }))
      .toSorted((a, b) => b.bytes - a.bytes);
  }

  /** Tells of each buffer that is about to be destroyed, while commands that use it may still be submitted. */
  beforeDestroying(tell: (buffer: LedgerBuffer) => void): Disposable {
    this.#told.add(tell);
    return { [Symbol.dispose]: () => void this.#told.delete(tell) };
  }

  /** Tells of a submit: what was destroyed before is gone when it is done. */
  submitted(done: Promise<unknown>): void {
    const destroyed = this.#destroyedBytes;
    const isGone = () => void (this.#goneBytes = Math.max(this.#goneBytes, destroyed));
    // A GPU that is lost has kept nothing, and whoever uses it is told by what they do.
    done.then(isGone, isGone);
  }

  async allocate(request: BufferRequest): Promise<LedgerBuffer> {
    const [buffer] = await this.allocateAll([request]);
    if (!buffer) throw new Error("Defect: one request gives one buffer");
    return buffer;
  }

  /**
   * Makes all of the buffers, or none.
   * @throws DeviceLimitError if they exceed the budget, an adapter limit, or the memory that the GPU really has.
   */
  async allocateAll<const Requests extends readonly BufferRequest[]>(
    requests: Requests,
  ): Promise<{ -readonly [Index in keyof Requests]: LedgerBuffer }> {
    const total = requests.reduce((sum, request) => sum + bufferBytes(request.bytes), 0);
    this.#checkBudget(requests, total);
    for (const request of requests) this.#checkLimit(request);
    this.#promisedBytes += total;
    if (this.#mustWait()) await this.#untilGone();
    this.#promisedBytes -= total;
    this.#device.pushErrorScope("out-of-memory");
    this.#device.pushErrorScope("validation");
    const buffers = requests.map((request) => this.#create(request));
    const [validation, outOfMemory] = await Promise.all([
      this.#device.popErrorScope(),
      this.#device.popErrorScope(),
    ]).catch((cause: unknown) => {
      for (const buffer of buffers) buffer[Symbol.dispose]();
      throw lostWhile("memory was being allocated", cause);
    });
    const error = validation ?? outOfMemory;
    if (error) {
      for (const buffer of buffers) buffer[Symbol.dispose]();
      throw new DeviceLimitError(
        `The GPU refused ${formatBytes(total)} for ${describe(requests)} with ${formatBytes(this.bytes)} in use: ${joinedLines(error.message)} Choose a smaller GPU budget than ${formatBytes(this.budgetBytes)}, or close other programs that use the GPU.`,
      );
    }
    return buffers as { -readonly [Index in keyof Requests]: LedgerBuffer };
  }

  /** True if what is live and promised has no room beside what is destroyed and not gone yet. */
  #mustWait(): boolean {
    const leaving = this.#destroyedBytes - this.#goneBytes;
    return leaving > 0 && this.bytes + leaving > this.budgetBytes;
  }

  async #untilGone(): Promise<void> {
    while (this.#mustWait()) {
      // What was destroyed since the last submit leaves with the next one, be it empty; waiting alone would not do.
      this.#device.queue.submit([this.#device.createCommandEncoder().finish()]);
      const done = this.#device.queue.onSubmittedWorkDone();
      this.submitted(done);
      await done.catch(() => undefined);
    }
  }

  /**
   * Counts a buffer that a library made on this device; disposing it destroys the buffer.
   * @throws DeviceLimitError if it exceeds the budget; the buffer is then destroyed.
   */
  adopt(label: string, buffer: GPUBuffer): LedgerBuffer {
    buffer.label = label;
    try {
      this.#checkBudget([{ label, bytes: buffer.size }], buffer.size);
    } catch (error) {
      buffer.destroy();
      throw error;
    }
    return this.#track(buffer);
  }

  #checkBudget(requests: readonly BufferRequest[], total: number): void {
    if (total <= this.freeBytes) return;
    throw new DeviceLimitError(
      `${describe(requests)} needs ${formatBytes(total)} of GPU memory; ${formatBytes(this.bytes)} of the budget of ${formatBytes(this.budgetBytes)} is in use. A budget of ${formatBytes(this.bytes + total)} would do.`,
    );
  }

  #checkLimit({ label, bytes }: BufferRequest): void {
    const limit = this.#device.limits.maxBufferSize;
    if (bufferBytes(bytes) <= limit) return;
    throw new DeviceLimitError(
      `${label} needs a buffer of ${formatBytes(bytes)}; this GPU allows ${formatBytes(limit)} (maxBufferSize).`,
    );
  }

  #create(request: BufferRequest): LedgerBuffer {
    const { STORAGE, COPY_SRC, COPY_DST } = GPUBufferUsage;
    const usage = request.usage ?? STORAGE | COPY_SRC | COPY_DST;
    return this.#track(
      this.#device.createBuffer({ label: request.label, size: bufferBytes(request.bytes), usage }),
    );
  }

  #track(raw: GPUBuffer): LedgerBuffer {
    const buffer = new LedgerBuffer(raw, (released) => {
      for (const tell of this.#told) tell(released);
      this.#live.delete(released);
      this.#bytes -= released.bytes;
      this.#destroyedBytes += released.bytes;
    });
    this.#live.add(buffer);
    this.#bytes += buffer.bytes;
    this.#peakBytes = Math.max(this.#peakBytes, this.#bytes);
    return buffer;
  }
}

/** Bytes that a buffer of `bytes` really takes: the planner uses the same rule as the ledger. */
export function bufferBytes(bytes: number): number {
  return Math.max(Math.ceil(bytes / COPY_ALIGNMENT) * COPY_ALIGNMENT, MIN_BUFFER_BYTES);
}

function describe(requests: readonly BufferRequest[]): string {
  const [first] = requests;
  return requests.length === 1 && first
    ? first.label
    : `${first?.label} and ${requests.length - 1} more buffers`;
}
