// What is recorded for one submit: passes of dispatches, and commands between them.

import { invariant } from "../../errors.ts";
import type { BufferPart, CompiledKernel, Dispatch, Kernel } from "../kernel.ts";
import { LedgerBuffer } from "../memory.ts";
import { writeStruct } from "../struct.ts";
import type { SubmitBytes } from "./submit-bytes.ts";
import type { SubmitTimer, TimedSubmit } from "./submit-timer.ts";
import type { DispatchedWork } from "./work-rates.ts";

/** Params of a dispatch lie at multiples of so many bytes, and have at most so many. */
export const PARAMS_SLOT_BYTES = 256;

/** Where bytes begin in a buffer. */
export interface BufferPlace {
  readonly of: LedgerBuffer;
  readonly offset: number;
}

export interface Recording {
  readonly encoder: GPUCommandEncoder;
  readonly timed: TimedSubmit;
  readonly dispatches: DispatchedWork[];
  /** Buffers that its commands use, which must be there when they are submitted. */
  readonly uses: Set<LedgerBuffer>;
  pass: GPUComputePassEncoder | null;
  passes: number;
  predictedMs: number;
}

/** Begins a submit, and its time. */
export function beginRecording(device: GPUDevice, timer: SubmitTimer): Recording {
  const encoder = device.createCommandEncoder();
  const timed = timer.begin();
  timed.start(encoder);
  return { encoder, timed, dispatches: [], uses: new Set(), pass: null, passes: 0, predictedMs: 0 };
}

/** Records a dispatch in the open pass, or in a new one; there must be room among the params. */
export function recordDispatch<K extends Kernel>(
  device: GPUDevice,
  recording: Recording,
  params: SubmitBytes,
  {
    kernel,
    compiled,
    dispatch,
  }: { readonly kernel: K; readonly compiled: CompiledKernel; readonly dispatch: Dispatch<K> },
): void {
  const timestampWrites = recording.timed.timestampWrites(recording.passes);
  if (!recording.pass) {
    recording.pass = recording.encoder.beginComputePass(timestampWrites ? { timestampWrites } : {});
    recording.passes++;
  }
  invariant(kernel.params.bytes <= PARAMS_SLOT_BYTES, `${kernel.name} has too many params`);
  const slot = params.take(PARAMS_SLOT_BYTES);
  writeStruct(kernel.params, dispatch.params, params.view, slot);
  const entries: GPUBindGroupEntry[] = [
    { binding: 0, resource: { buffer: params.buffer.buffer, size: PARAMS_SLOT_BYTES } },
    ...Object.keys(kernel.bindings).map((name, index) => ({
      binding: index + 1,
      resource: bindingOf(recording, kernel.name, name, dispatch.buffers[name]),
    })),
  ];
  const group = device.createBindGroup({ label: kernel.name, layout: compiled.layout, entries });
  recording.pass.setPipeline(compiled.pipeline);
  recording.pass.setBindGroup(0, group, [slot]);
  recording.pass.dispatchWorkgroups(...dispatch.workgroups);
}

/** Ends the open pass, if there is one: what comes next is no dispatch. */
export function endPass(recording: Recording): void {
  recording.pass?.end();
  recording.pass = null;
}

function bindingOf(
  recording: Recording,
  kernel: string,
  name: string,
  part: BufferPart | undefined,
): GPUBufferBinding {
  invariant(part, `${kernel} lacks its buffer "${name}"`);
  recording.uses.add(part instanceof LedgerBuffer ? part : part.of);
  if (part instanceof LedgerBuffer) return { buffer: part.buffer };
  return { buffer: part.of.buffer, offset: part.offset, size: Math.ceil(part.bytes / 4) * 4 };
}

/** A dispatch as rates are learned of it. */
export function workOf(
  kernel: Kernel,
  { constants, work }: Pick<Dispatch<Kernel>, "constants" | "work">,
): DispatchedWork {
  return { kernel: kernel.name, variant: Object.values(constants ?? {}).join(), work };
}
