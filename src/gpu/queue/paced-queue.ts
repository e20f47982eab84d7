// Dispatches are recorded here and submitted in pieces of a few milliseconds: an operating system resets a GPU that is
// busy for about two seconds with one submit, and a desktop stutters long before. How much work makes a millisecond is
// learned from the submits themselves.

import { madeOf } from "../../disposal.ts";
import { invariant, lostWhile } from "../../errors.ts";
import { cutWork } from "./cut-work.ts";
import { countKernels, type LongSubmit, longestOf } from "./long-submit.ts";
import { type Dispatch, type Kernel, PipelineCache } from "../kernel.ts";
import type { GpuMemory, LedgerBuffer } from "../memory.ts";
import {
  beginRecording,
  type BufferPlace,
  endPass,
  PARAMS_SLOT_BYTES,
  recordDispatch,
  type Recording,
  workOf,
} from "./recording.ts";
import { MAX_TIMED_PASSES, SubmitTimer, timerBytes } from "./submit-timer.ts";
import { SubmitBytes } from "./submit-bytes.ts";
import { createSubmitsInFlight } from "./submits-in-flight.ts";
import { createWorkRates, type DispatchedWork, TARGET_MS } from "./work-rates.ts";
import { type DeviceFailure, watchDevice } from "./watch-device.ts";

/** Two of the length that is aimed at, or more that are shorter: what is read back waits for all of it. */
const IN_FLIGHT = { milliseconds: 2 * TARGET_MS, submits: 12 } as const;
const SHORT_COPY_MS = 1;
/** Submits whose time is read at once: those that compute, and those that copy. */
const TIMED_SUBMITS = IN_FLIGHT.submits + 16;
/** Of bytes from the host so many may be on their way. */
const WRITES_BYTES = 64 * 1024 ** 2;
/** Copies are cut into pieces of so many bytes. */
const COPY_BYTES = 64 * 1024 ** 2;
/** Bytes that a modest GPU copies in a millisecond. Not learned: clocks are read around passes only. */
const COPY_BYTES_PER_MS = 50_000_000;
const PARAMS_SLOTS = 256;
const PARAMS_BYTES = PARAMS_SLOT_BYTES * PARAMS_SLOTS;
/** Bytes from the host that the commands of one submit may bring along; enough for the tables of 16,384 columns. */
export const UPDATE_BYTES = 256 * 1024;

/** GPU bytes that the queue itself takes at most: params, updates, and timestamps where there are any. */
export const QUEUE_BYTES = PARAMS_BYTES + UPDATE_BYTES + timerBytes(TIMED_SUBMITS);

export class PacedQueue implements Disposable {
  readonly #device: GPUDevice;
  readonly #memory: GpuMemory;
  readonly #pipelines: PipelineCache;
  readonly #timer: SubmitTimer;
  readonly #params: SubmitBytes;
  readonly #updates: SubmitBytes;
  readonly #rates = createWorkRates();
  readonly #inFlight = createSubmitsInFlight(IN_FLIGHT);
  #recording: Recording | null = null;
  #longest: LongSubmit[] = [];
  #submits = 0;
  #writtenBytes = 0;
  #busyMs = 0;
  readonly #failure: DeviceFailure;
  readonly #watching: Disposable;

  private constructor(
    device: GPUDevice,
    memory: GpuMemory,
    { timer, params, updates }: { timer: SubmitTimer; params: SubmitBytes; updates: SubmitBytes },
  ) {
    this.#device = device;
    this.#memory = memory;
    this.#pipelines = new PipelineCache(device);
    this.#timer = timer;
    this.#params = params;
    this.#updates = updates;
    this.#failure = watchDevice(device);
    // Whoever gives a buffer back need not know what is recorded, least of all where something has failed. A queue that has failed
    // submits nothing any more.
    this.#watching = memory.beforeDestroying((buffer) => {
      if (!this.#failure.isThere && this.#recording?.uses.has(buffer)) this.submit();
    });
  }

  static async create(device: GPUDevice, memory: GpuMemory): Promise<PacedQueue> {
    return await madeOf(async (parts) => {
      const timer = parts.use(await SubmitTimer.create(device, memory, TIMED_SUBMITS));
      const { UNIFORM, COPY_SRC } = GPUBufferUsage;
      const params = { label: "kernel params", bytes: PARAMS_BYTES, usage: UNIFORM };
      const updates = { label: "updates", bytes: UPDATE_BYTES, usage: COPY_SRC };
      return new PacedQueue(device, memory, {
        timer,
        params: parts.use(await SubmitBytes.create(device, memory, params)),
        updates: await SubmitBytes.create(device, memory, updates),
      });
    });
  }

  /** The submits that held the GPU longest, worst first. */
  get longestSubmits(): readonly LongSubmit[] {
    return this.#longest;
  }

  get submits(): number {
    return this.#submits;
  }

  /** Milliseconds that submits held the GPU, summed. */
  get busyMs(): number {
    return this.#busyMs;
  }

  /** Work units that one dispatch of `kernel` may have without holding the GPU longer than a submit should. */
  workLimit(kernel: Kernel): number {
    return this.#rates.limit(kernel.name);
  }

  /**
   * Cuts `count` items of `workEach` units into runs that each fit one submit; `multiple` keeps the cuts aligned. The
   * limit is read anew for each run, since it is learned on the way.
   */
  split(
    kernel: Kernel,
    count: number,
    workEach: number,
    multiple = 1,
  ): Generator<{ first: number; end: number }> {
    return cutWork(() => this.workLimit(kernel), { count, workEach, multiple });
  }

  /** Compiles a kernel that will be wanted with these constants. */
  async compile(kernel: Kernel, constants: Readonly<Record<string, number>> = {}): Promise<void> {
    await this.#pipelines.get(kernel, constants);
  }

  /** Begins to compile a kernel; whoever runs it is told of a failure. */
  prepare(kernel: Kernel, constants: Readonly<Record<string, number>> = {}): void {
    this.compile(kernel, constants).catch(() => undefined);
  }

  /** Records one dispatch; submits when enough work has gathered, and waits when the GPU is behind. */
  async run<K extends Kernel>(kernel: K, dispatch: Dispatch<K>): Promise<void> {
    const compiled = await this.#pipelines.get(kernel, dispatch.constants as Record<string, number>);
    const entry = workOf(kernel, dispatch);
    // Nothing may wait between this and the recording: others record meanwhile.
    while (this.#lacksRoom(entry)) await this.flush();
    const recording = this.#record();
    recordDispatch(this.#device, recording, this.#params, { kernel, compiled, dispatch });
    recording.predictedMs += this.#rates.predict(entry);
    recording.dispatches.push(entry);
    // A size without a measurement goes alone, so that the first guess is soon replaced.
    if (recording.predictedMs >= TARGET_MS || !this.#rates.knows(entry)) await this.flush();
  }

  /** True if the dispatch would make the submit too long, or a first measurement unclear. */
  #lacksRoom(entry: DispatchedWork): boolean {
    const pending = this.#recording;
    if (!pending) return false;
    const tooLong = pending.predictedMs + this.#rates.predict(entry) > TARGET_MS;
    return tooLong || !this.#params.hasRoomFor(PARAMS_SLOT_BYTES) || !this.#rates.knows(entry);
  }

  /** Records a copy between buffers, in order with the dispatches. Offsets and bytes are multiples of 4. */
  async copy(from: BufferPlace, to: BufferPlace, bytes: number): Promise<void> {
    for (let done = 0; done < bytes; done += COPY_BYTES) {
      const piece = Math.min(COPY_BYTES, bytes - done);
      while (this.#lacksRoomToCopy(piece)) await this.flush();
      const encoder = this.#encoderFor(piece, [from.of, to.of]);
      encoder.copyBufferToBuffer(from.of.buffer, from.offset + done, to.of.buffer, to.offset + done, piece);
    }
  }

  /**
   * Puts at most UPDATE_BYTES from the host into a buffer, in order with the dispatches, as they are now, with zeros behind them up to a
   * multiple of 4. `offset` is one.
   */
  async update(bytes: Uint8Array, to: LedgerBuffer, offset = 0): Promise<void> {
    const length = Math.ceil(bytes.byteLength / 4) * 4;
    invariant(length <= UPDATE_BYTES, `${length} bytes are more than an update`);
    while (!this.#updates.hasRoomFor(length) || this.#lacksRoomToCopy(length)) await this.flush();
    const encoder = this.#encoderFor(length, [to]);
    const at = this.#updates.put(bytes);
    encoder.copyBufferToBuffer(this.#updates.buffer.buffer, at, to.buffer, offset, length);
    await this.#holdUp(length);
  }

  /** Writes bytes of the host, a multiple of 4, to a buffer, behind all that was recorded before and ahead of what comes after. */
  async write(bytes: Uint8Array, to: LedgerBuffer, offset = 0): Promise<void> {
    await this.flush();
    this.#device.queue.writeBuffer(to.buffer, offset, bytes);
    await this.#holdUp(bytes.byteLength);
  }

  /** Nothing else holds up who writes, and the browser keeps all bytes until the GPU has taken them. */
  async #holdUp(bytes: number): Promise<void> {
    this.#writtenBytes += bytes;
    if (this.#writtenBytes < WRITES_BYTES) return;
    this.#writtenBytes = 0;
    await this.flush();
    await this.#device.queue.onSubmittedWorkDone().catch((cause: unknown) => {
      throw lostWhile("it was written to", cause);
    });
  }

  /** Sets a part of a buffer to zero, in order with the dispatches. */
  async clear(of: LedgerBuffer, offset = 0, bytes = of.bytes - offset): Promise<void> {
    for (let done = 0; done < bytes; done += COPY_BYTES) {
      const piece = Math.min(COPY_BYTES, bytes - done);
      while (this.#lacksRoomToCopy(piece)) await this.flush();
      this.#encoderFor(piece, [of]).clearBuffer(of.buffer, offset + done, piece);
    }
  }

  #lacksRoomToCopy(bytes: number): boolean {
    const pending = this.#recording;
    if (!pending) return false;
    return pending.passes >= MAX_TIMED_PASSES || pending.predictedMs + bytes / COPY_BYTES_PER_MS > TARGET_MS;
  }

  /** Where a command of so many bytes is recorded that is no dispatch, and uses these. */
  #encoderFor(bytes: number, used: readonly LedgerBuffer[]): GPUCommandEncoder {
    const recording = this.#record();
    endPass(recording);
    for (const buffer of used) recording.uses.add(buffer);
    recording.predictedMs += bytes / COPY_BYTES_PER_MS;
    return recording.encoder;
  }

  /**
   * Submits a copy by itself, at once: behind what was submitted, ahead of what is recorded. It holds up nobody and is not waited for, so
   * that whoever copies much in pieces bounds how many are on their way.
   */
  copyAhead(from: BufferPlace, to: BufferPlace, bytes: number): void {
    this.#failure.throwIfThere();
    const encoder = this.#device.createCommandEncoder();
    encoder.copyBufferToBuffer(from.of.buffer, from.offset, to.of.buffer, to.offset, bytes);
    this.#device.queue.submit([encoder.finish()]);
    // Whoever waits for what is in flight is told of a loss by the submits that are measured.
    const done = this.#device.queue.onSubmittedWorkDone().catch(() => undefined);
    this.#inFlight.add(done, 0, true);
  }

  /** Submits what is recorded; waits only while too many submits are in flight, and not at all after a short copy. */
  async flush(): Promise<void> {
    const isShort = this.submit();
    if (!isShort) await this.#inFlight.room();
    this.#failure.throwIfThere();
  }

  /**
   * Submits what is recorded, and waits for nothing: the next flush does.
   * @returns true if nothing was recorded, or a short copy alone
   */
  submit(): boolean {
    this.#failure.throwIfThere();
    const recording = this.#recording;
    if (!recording) return true;
    this.#recording = null;
    endPass(recording);
    recording.timed.resolve(recording.encoder, recording.passes);
    this.#params.write();
    this.#updates.write();
    this.#device.queue.submit([recording.encoder.finish()]);
    this.#submits++;
    const done = this.#measure(recording);
    this.#memory.submitted(done);
    const isShort = recording.dispatches.length === 0 && recording.predictedMs < SHORT_COPY_MS;
    this.#inFlight.add(done, recording.predictedMs, isShort);
    return isShort;
  }

  /** Submits what is recorded and waits until the GPU has done all of it. */
  async idle(): Promise<void> {
    await this.flush();
    await this.#inFlight.idle();
    this.#failure.throwIfThere();
  }

  [Symbol.dispose](): void {
    this.#failure[Symbol.dispose]();
    this.#watching[Symbol.dispose]();
    this.#recording = null;
    this.#timer[Symbol.dispose]();
    this.#params[Symbol.dispose]();
    this.#updates[Symbol.dispose]();
  }

  #record(): Recording {
    return (this.#recording ??= beginRecording(this.#device, this.#timer));
  }

  async #measure(recording: Recording): Promise<void> {
    try {
      const milliseconds = await recording.timed.milliseconds();
      const kernels = countKernels(recording.dispatches);
      const { predictedMs } = recording;
      this.#longest = longestOf([...this.#longest, { milliseconds, predictedMs, kernels }]);
      this.#busyMs += milliseconds;
      this.#rates.learn(recording.dispatches, milliseconds);
    } catch (cause) {
      this.#failure.keep(lostWhile("it was computing", cause));
    }
  }
}
