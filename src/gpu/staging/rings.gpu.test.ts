import { describe, expect, it, vi } from "vitest";
import { openTestGpu } from "../../testing/test-gpu/open-test-gpu.ts";
import { UPDATE_BYTES } from "../queue/paced-queue.ts";
import { ReadbackRing } from "./readback-ring.ts";
import { UploadRing } from "./upload-ring.ts";

const PIECE = 8 * UPDATE_BYTES;
const MIB = 1024 ** 2;
const RING = { pieceBytes: PIECE, pieces: 2 };

function counting(bytes: number, first: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length: bytes }, (_, index) => (index * 7 + first) % 251);
}

describe("rings between the host and the GPU", () => {
  it("carry along with a submit, behind it and piece by piece what comes back whole, the last write on top", async () => {
    using test = await openTestGpu();
    using uploads = await UploadRing.create(test.gpu, RING);
    using readbacks = await ReadbackRing.create(test.gpu, RING);
    using to = await test.empty("to", 3 * PIECE);
    const expected = new Uint8Array(3 * PIECE);
    const sizes = [2.5 * PIECE, PIECE / 4, UPDATE_BYTES, UPDATE_BYTES + 3, 8, PIECE / 4 + 4];
    for (const [index, size] of sizes.entries()) {
      const bytes = counting(size, index);
      await uploads.write(bytes, to, index * 1024);
      expected.set(bytes, index * 1024);
      if (size % 4 > 0) expected.fill(0, index * 1024 + size, index * 1024 + size + 1);
    }
    const seen = await readbacks.readBytes(to);
    expect(seen.every((byte, index) => byte === expected[index])).toBe(true);
  });

  it("write ahead behind what was recorded before, and tell when what is read may be written over", async () => {
    using test = await openTestGpu();
    using uploads = await UploadRing.create(test.gpu, RING);
    using readbacks = await ReadbackRing.create(test.gpu, RING);
    const [before, after] = [counting(2.5 * PIECE, 1), counting(2.5 * PIECE + 2, 2)];
    using to = await test.upload("to", before);
    using kept = await test.empty("kept", before.byteLength);
    await test.gpu.queue.copy({ of: to, offset: 0 }, { of: kept, offset: 0 }, before.byteLength);
    using wide = await test.empty("wide", after.byteLength + 2);
    await uploads.writeAhead(
      before.map((byte) => byte + 1),
      to,
    );
    await uploads.writeAhead(after, wide);
    const seen = new Uint8Array(before.byteLength);
    const overwritten: Promise<void>[] = [];
    const take = (view: Uint8Array, position: number) => seen.set(view, position);
    await readbacks.read(kept, 0, before.byteLength, take, () => {
      overwritten.push(uploads.writeAhead(after.subarray(0, before.byteLength), kept));
    });
    await Promise.all(overwritten);
    expect(seen.every((byte, index) => byte === before[index])).toBe(true);
    for (const [buffer, expected] of [
      [to, before.map((byte) => byte + 1)],
      [wide, after],
      [kept, after.subarray(0, before.byteLength)],
    ] as const) {
      const found = await readbacks.readBytes(buffer, 0, expected.byteLength);
      expect(found.every((byte, index) => byte === expected[index])).toBe(true);
    }
  });

  it("write parts together as they are written one by one, as many as a piece holds at a time", async () => {
    using test = await openTestGpu();
    using uploads = await UploadRing.create(test.gpu, RING);
    using readbacks = await ReadbackRing.create(test.gpu, RING);
    const sizes = [PIECE / 2 + 2, UPDATE_BYTES, 3, 8, 1.5 * PIECE, PIECE / 4, PIECE / 2, PIECE / 4, 12];
    for (const few of [sizes, [8, 12]]) {
      const parts = [];
      for (const [at, size] of few.entries())
        parts.push({ bytes: counting(size, at), to: await test.empty(`to ${at}`, size + 8), offset: 4 });
      await uploads.writeAll(parts);
      for (const { bytes, to } of parts) {
        const seen = await readbacks.readBytes(to, 4, bytes.byteLength);
        expect(seen.every((byte, index) => byte === bytes[index])).toBe(true);
        to[Symbol.dispose]();
      }
    }
  });

  it("are used on where what goes through a piece cannot be made, or not be taken", async () => {
    using test = await openTestGpu();
    using uploads = await UploadRing.create(test.gpu, { pieceBytes: PIECE, pieces: 1 });
    using to = await test.upload("to", counting(PIECE, 1));
    await uploads.write(counting(PIECE, 2), to);
    const damaged = () => {
      throw new Error("The file is damaged.");
    };
    const nowhere = async () => await Promise.reject(new Error("Nobody takes it."));
    const none = async () => await Promise.resolve();
    await expect(uploads.fill(PIECE, damaged, none)).rejects.toThrow("The file is damaged.");
    await expect(uploads.fill(PIECE, (view) => void view.fill(1), nowhere)).rejects.toThrow(
      "Nobody takes it.",
    );
    await uploads.write(counting(PIECE, 3), to);
    expect(await test.readBytes(to)).toEqual(counting(PIECE, 3));
  });

  it("tell that a part cannot be taken when no other is on its way", async () => {
    using test = await openTestGpu();
    using readbacks = await ReadbackRing.create(test.gpu, RING);
    using from = await test.upload("from", counting(3 * PIECE, 1));
    const taken: number[] = [];
    const take = (_: Uint8Array, position: number) => {
      if (position === 0) throw new Error("The disk is full.");
      taken.push(position);
    };
    await expect(readbacks.read(from, 0, 3 * PIECE, take)).rejects.toThrow("The disk is full.");
    expect(taken).toEqual([PIECE, 2 * PIECE]);
  });

  it("hold up who writes more at a time than may be on its way", async () => {
    using test = await openTestGpu();
    using uploads = await UploadRing.create(test.gpu, { pieceBytes: 16 * MIB, pieces: 1 });
    using to = await test.empty("to", 4 * MIB);
    const waited = vi.spyOn(test.gpu.device.queue, "onSubmittedWorkDone");
    const bytes = new Uint8Array(2 * MIB);
    for (let turn = 1; turn <= 33; turn++) await uploads.write(bytes.fill(turn), to);
    expect(waited).toHaveBeenCalledTimes(1);
    waited.mockRestore();
    expect(await test.readWords(to, 1)).toEqual(Uint32Array.of(0x21212121));
  });

  it("read parts of several buffers at once, together or each in pieces of its own", async () => {
    using test = await openTestGpu();
    using readbacks = await ReadbackRing.create(test.gpu, RING);
    using one = await test.upload("one", counting(PIECE, 1));
    using other = await test.upload("other", counting(64, 2));
    for (const bytes of [12, PIECE - 1024, PIECE]) {
      const seen = [new Uint8Array(bytes), new Uint8Array(7)];
      const part = (index: number) => (view: Uint8Array, position: number) =>
        seen[index]?.set(view, position);
      await readbacks.readParts([
        { from: one, offset: 0, bytes, consume: part(0) },
        { from: other, offset: 8, bytes: 7, consume: part(1) },
      ]);
      expect(seen[0]?.every((byte, index) => byte === (index * 7 + 1) % 251)).toBe(true);
      expect(seen[1]).toEqual(counting(64, 2).slice(8, 15));
    }
  });
});
