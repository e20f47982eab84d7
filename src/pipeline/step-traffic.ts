// Bytes in and out of a running job: which ranges to fetch ahead, which chunks to forget, and the tensors that pass
// through unquantized.

import type { Journal } from "../offload/journal.ts";
import type { OutputStore } from "../offload/output-store.ts";
import type { PlanStep, QuantizeTask } from "../plan/plan-steps.ts";
import type { SourceTensor } from "../plan/read-headers.ts";
import type { FileRange } from "./api.ts";
import type { Job } from "./compress.ts";
import { isFinished } from "./job-journal.ts";
import { mergeRanges } from "./plan-job.ts";
import type { TileTraffic } from "./tile-pipeline.ts";

/** Tensors that are only copied pass through host memory in pieces of this size. */
const COPY_BYTES = 16 * 1024 ** 2;
/** The network runs ahead by at least two steps, and by at least this much, so that small layers do not starve it. */
const LOOKAHEAD_STEPS = 2;
const LOOKAHEAD_BYTES = 1024 ** 3;

export function createStepTraffic(job: Job, store: OutputStore, journal: Journal) {
  const { plan, source, control, progress, options } = job;
  const done: FileRange[] = headerRanges(job);
  let aborted = false;
  const checkpoint = async () => {
    await control.checkpoint();
    if (aborted) throw new DOMException("Another part of the job failed.", "AbortError");
  };
  const traffic: TileTraffic = {
    read: async (range) => await source.read(range),
    write: (tensor, offset, bytes) => store.write(tensor, offset, bytes),
    checkpoint,
    finished: (bytes) => progress.finished(bytes),
  };
  const copyTensor = async (tensor: SourceTensor) => {
    for (let start = tensor.start; start < tensor.end; start += COPY_BYTES) {
      await checkpoint();
      const end = Math.min(start + COPY_BYTES, tensor.end);
      const bytes = await source.read({ path: tensor.file, start, end });
      store.write(tensor.name, start - tensor.start, bytes);
      progress.finished(bytes.byteLength);
    }
  };
  return {
    ...traffic,
    /** Counts a step that an earlier run finished. */
    skip(step: PlanStep) {
      done.push(...(plan.ranges[step.index] ?? []));
      progress.finished(stepBytes(plan.ranges[step.index] ?? []));
    },
    /** Tells the network thread what comes next. */
    async begin(step: PlanStep) {
      const ahead: FileRange[] = [];
      let bytes = 0;
      for (const next of plan.steps.slice(step.index)) {
        if (isFinished(journal, next)) continue;
        if (bytes > LOOKAHEAD_BYTES && next.index > step.index + LOOKAHEAD_STEPS) break;
        const ranges = plan.ranges[next.index] ?? [];
        ahead.push(...ranges);
        bytes += stepBytes(ranges);
      }
      await source.prefetch(ahead);
    },
    async copyTensors(step: PlanStep) {
      for (const tensor of step.copy) await copyTensor(tensor);
    },
    /** `weight_shape` says what packing hides: the number of columns. */
    writeShape(task: QuantizeTask) {
      const shape = task.outputs.find(({ name }) => name.endsWith(".weight_shape"));
      if (!shape) return;
      const values = BigInt64Array.of(BigInt(task.rows), BigInt(task.columns));
      store.write(shape.name, 0, new Uint8Array(values.buffer));
    },
    /** Forgets the chunks that only finished steps have needed. */
    async end(step: PlanStep) {
      done.push(...(plan.ranges[step.index] ?? []));
      if (!options.keepSource) await source.evict(mergeRanges(done));
    },
    abort() {
      aborted = true;
    },
  };
}

function stepBytes(ranges: readonly FileRange[]): number {
  return ranges.reduce((sum, { start, end }) => sum + end - start, 0);
}

/** No tensor lies in a file's header; without it the first chunk of a file would never be done with. */
function headerRanges(job: Job): FileRange[] {
  const firstByte = new Map<string, number>();
  for (const { file, start } of job.model.tensors) {
    firstByte.set(file, Math.min(firstByte.get(file) ?? start, start));
  }
  return [...firstByte].map(([path, end]) => ({ path, start: 0, end }));
}
