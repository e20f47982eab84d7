// What a layer teaches of a GPU's speed, for the next plan's estimate of time: nothing if the job was paused meanwhile, when work that was
// under way went on while the job's clock stood still.

import { expect, it } from "vitest";
import { summarizeAdapter } from "../gpu/gpu.ts";
import { planFixture } from "../testing/jobs/plan-fixture.ts";
import { createStubGpu } from "../testing/stand-ins/stub-gpu.ts";
import { createJobControl, type JobControl } from "./job/job-control.ts";
import { gpuSpeed } from "./planning/gpu-speed.ts";

const GPTQ = { name: "GPTQModifier", dampening_frac: 0.01, actorder: "static" } as const;

/** The speed that is kept of a job whose pieces of work take a second each, where `disturb` is called behind one of them. */
async function speedKept(disturbed: number, disturb: (control: JobControl) => void) {
  const job = await planFixture("llama", "W8A8", GPTQ, { ignore: ["lm_head", "re:.*(v|o|up)_proj"] });
  let [time, pieces] = [0, 0];
  const control = createJobControl(() => time);
  const checkpoint = async () => {
    time += 1000;
    if (control.paused) {
      time += 3_600_000;
      control.resume();
    }
    await control.checkpoint();
    if (++pieces === disturbed) disturb(control);
  };
  const own: JobControl = Object.create(control, { checkpoint: { value: checkpoint } });
  await job
    .machine()
    .run(own)
    .catch(() => undefined);
  const { flopsPerSecond } = await gpuSpeed(summarizeAdapter(createStubGpu({}).adapter()));
  return { pieces, speed: flopsPerSecond };
}

it("is that of a layer that ran undisturbed, wherever the job was paused", async () => {
  const { pieces, speed: last } = await speedKept(0, () => undefined);
  const { speed: first } = await speedKept(20, (control) => control.cancel());
  expect(first).not.toBe(last);
  const kept = new Set<number>();
  for (let piece = 1; piece <= pieces; piece += 2)
    kept.add((await speedKept(piece, (control) => control.pause())).speed);
  expect(kept).toEqual(new Set([first, last]));
});
