// Bytes in and out of a running job: which ranges to fetch ahead, and which chunks to forget.

import type { PlannedStep } from "../planning/planned-step.ts";
import { isDone } from "./done-steps.ts";
import { finishedGenerations } from "./job-journal.ts";
import { mergeRanges, type FileRange } from "../../formats/files/file-ranges.ts";
import { createJointWork } from "../../joint-work.ts";
import { createSpareArrays } from "../../spare-arrays.ts";
import type { SourceTraffic } from "./traffic.ts";
import type { Job, RunOutput } from "./job.ts";

/** The network runs ahead by at least two steps, and by at least this much, so that small layers do not starve it. */
const LOOKAHEAD_STEPS = 2;
/** Calibrated layers are read one ahead into host memory: what comes earlier would go through IndexedDB and back. */
const CALIBRATED_LOOKAHEAD_STEPS = 1;
const LOOKAHEAD_BYTES = 1024 ** 3;
/** Host memory of arrays that wait to be read into: some more than tiles have under way. */
const SPARE_BYTES = 128 * 1024 ** 2;

export type StepTraffic = ReturnType<typeof createStepTraffic>;

/** Every result has its own way to write. */
export function createStepTraffic(job: Job, output: RunOutput) {
  const { plan, source, control, progress, options } = job;
  const finished = plan.steps.filter((step) => isDone(output, plan.steps, step));
  const done: FileRange[] = [...headerRanges(job), ...finished.flatMap(({ ranges }) => ranges)];
  const underWay = new Set<PlannedStep>();
  const joint = createJointWork();
  const spare = createSpareArrays(SPARE_BYTES);
  const checkpoint = async () => {
    await joint.unlessFailed(control.checkpoint());
    joint.check();
  };
  const traffic: SourceTraffic = {
    joint,
    // A network that waits before it tries again must not hold up a failure.
    read: async (range) => {
      const reading = source.read(range, spare.take(range.end - range.start));
      return await joint.unlessFailed(reading);
    },
    recycle: (bytes) => spare.give(bytes),
    checkpoint,
    finished(range) {
      progress.finished(range.end - range.start);
      if (!options.keepSource && !embeddingIsWanted(job, output)) void source.use(range);
    },
  };
  return {
    ...traffic,
    /** Reads what nothing else asks for. */
    take: async (range: FileRange) =>
      await joint.unlessFailed(options.keepSource ? source.read(range) : source.take(range)),
    /** Tells the network thread what comes next. */
    async begin(step: PlannedStep) {
      // A step that is still under way reads the rest of its bytes before.
      const ahead = [...underWay].filter((other) => other !== step).flatMap(({ ranges }) => ranges);
      underWay.add(step);
      await source.prefetch([...ahead, ...rangesAhead(job, output, step)]);
    },
    /** Forgets the chunks that only finished steps have needed. */
    async end(step: PlannedStep) {
      underWay.delete(step);
      done.push(...step.ranges);
      if (!options.keepSource && (step.calibrated || !embeddingIsWanted(job, output)))
        await source.evict(mergeRanges(done));
    },
    abort() {
      joint.fail(new DOMException("Another part of the job failed.", "AbortError"));
    },
  };
}

/** What a step reads, and the steps behind it that the network may run ahead to. */
function rangesAhead({ plan }: Job, output: RunOutput, step: PlannedStep): FileRange[] {
  const ahead: FileRange[] = [];
  const steps = step.calibrated ? CALIBRATED_LOOKAHEAD_STEPS : LOOKAHEAD_STEPS;
  let bytes = 0;
  for (const next of plan.steps.slice(step.index)) {
    if (isDone(output, plan.steps, next)) continue;
    if (bytes > LOOKAHEAD_BYTES && next.index > step.index + steps) break;
    ahead.push(...next.ranges);
    bytes += next.bytes;
  }
  return ahead;
}

/** The embedding is copied before the first layer asks for its rows: its chunks must not be fetched twice if those are not kept. */
function embeddingIsWanted({ plan }: Job, { journal, embedding }: RunOutput): boolean {
  if (!plan.calibration || embedding.keeps) return false;
  return finishedGenerations(journal, plan.steps) === 0;
}

/** No tensor lies in a file's header; without it the first chunk of a file would never be done with. */
function headerRanges(job: Job): FileRange[] {
  const firstByte = new Map<string, number>();
  for (const { file, start } of job.model.tensors) {
    firstByte.set(file, Math.min(firstByte.get(file) ?? start, start));
  }
  return [...firstByte].map(([path, end]) => ({ path, start: 0, end }));
}
