// Bytes that the host gives along with the commands of a submit: gathered while these are recorded, and written to a buffer of
// their own just before. Nothing is mapped, so nobody waits for the GPU.

import type { GpuMemory, LedgerBuffer } from "../memory.ts";

export class SubmitBytes implements Disposable {
  readonly buffer: LedgerBuffer;
  readonly #device: GPUDevice;
  readonly #bytes: Uint8Array<ArrayBuffer>;
  /** What is gathered, for who writes numbers. */
  readonly view: DataView;
  #used = 0;

  private constructor(device: GPUDevice, buffer: LedgerBuffer) {
    this.#device = device;
    this.buffer = buffer;
    this.#bytes = new Uint8Array(buffer.bytes);
    this.view = new DataView(this.#bytes.buffer);
  }

  static async create(
    device: GPUDevice,
    memory: GpuMemory,
    { label, bytes, usage }: { readonly label: string; readonly bytes: number; readonly usage: number },
  ): Promise<SubmitBytes> {
    const buffer = await memory.allocate({ label, bytes, usage: usage | GPUBufferUsage.COPY_DST });
    return new SubmitBytes(device, buffer);
  }

  hasRoomFor(bytes: number): boolean {
    return this.#used + bytes <= this.#bytes.byteLength;
  }

  /** Takes room for so many bytes, a multiple of 4, and returns where it begins: there must be room. */
  take(bytes: number): number {
    const at = this.#used;
    this.#used += bytes;
    return at;
  }

  /** Adds bytes, zeros up to a multiple of 4 behind them, and returns where they begin: there must be room. */
  put(bytes: Uint8Array): number {
    const at = this.take(Math.ceil(bytes.byteLength / 4) * 4);
    this.#bytes.set(bytes, at);
    this.#bytes.fill(0, at + bytes.byteLength, this.#used);
    return at;
  }

  /** Writes what was gathered; to be called right before the submit whose commands read it. */
  write(): void {
    if (this.#used === 0) return;
    this.#device.queue.writeBuffer(this.buffer.buffer, 0, this.#bytes.subarray(0, this.#used));
    this.#used = 0;
  }

  [Symbol.dispose](): void {
    this.buffer[Symbol.dispose]();
  }
}
