// bfloat16 weights to float32 on the GPU: half of the bytes to bring, and no loop over them on the processor.

import { PipelineCache, spreadWorkgroups } from "../../gpu/kernel.ts";
import { bufferBytes, type GpuMemory } from "../../gpu/memory.ts";
import { widenHalves } from "../weights/weight-values.ts";
import { writeStruct } from "../../gpu/struct.ts";
import { widenKernel } from "../../gpu/elements/widen.ts";

/** Halves on the GPU at once. */
const PIECE_BYTES = 32 * 1024 ** 2;
const WORKGROUP = 64;
const PARAMS_BYTES = 256;

/** Makes what writes bfloat16 values into a buffer of float32; on the processor where the budget has no room for a piece of them. */
export function createWidener(
  device: GPUDevice,
  memory: GpuMemory,
  mostBytes = PIECE_BYTES,
): (halves: Uint16Array<ArrayBuffer>, to: GPUBuffer) => Promise<void> {
  const pipelines = new PipelineCache(device);
  return async (halves, to) => {
    const { pipeline, layout } = await pipelines.get(widenKernel);
    const pieceBytes = Math.min(mostBytes, halves.byteLength);
    if (memory.freeBytes < bufferBytes(pieceBytes) + PARAMS_BYTES) {
      device.queue.writeBuffer(to, 0, widenHalves(halves));
      return;
    }
    const [words, params] = await memory.allocateAll([
      { label: "bfloat16 weights", bytes: pieceBytes },
      {
        label: "count of weights",
        bytes: PARAMS_BYTES,
        usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
      },
    ]);
    for (let first = 0; first < halves.length; first += mostBytes / 2) {
      const piece = halves.subarray(first, first + mostBytes / 2);
      device.queue.writeBuffer(words.buffer, 0, wholeWords(piece));
      device.queue.writeBuffer(params.buffer, 0, paramsOf(piece.length));
      const entries = [
        { binding: 0, resource: { buffer: params.buffer, size: PARAMS_BYTES } },
        { binding: 1, resource: { buffer: words.buffer } },
        { binding: 2, resource: { buffer: to, offset: first * 4, size: piece.length * 4 } },
      ];
      const encoder = device.createCommandEncoder();
      const pass = encoder.beginComputePass();
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, device.createBindGroup({ layout, entries }), [0]);
      pass.dispatchWorkgroups(...spreadWorkgroups(Math.ceil(piece.length / WORKGROUP)));
      pass.end();
      device.queue.submit([encoder.finish()]);
    }
    // They are freed once the GPU has done what was submitted.
    words[Symbol.dispose]();
    params[Symbol.dispose]();
  };
}

function paramsOf(count: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(PARAMS_BYTES);
  writeStruct(widenKernel.params, { count }, new DataView(bytes.buffer), 0);
  return bytes;
}

/** Writes are multiples of 4 bytes. */
export function wholeWords(data: ArrayBufferView<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  if (bytes.byteLength % 4 === 0) return bytes;
  const padded = new Uint8Array(Math.ceil(bytes.byteLength / 4) * 4);
  padded.set(bytes);
  return padded;
}
