import { describe, expect, it } from "vitest";
import { seededRandom } from "../../testing/random.ts";
import type { LayerWork } from "../calibration/costs/calibration-work.ts";
import { createTimeLeft } from "./time-left.ts";

const PHASES = ["calibrating", "quantizing", "propagating"] as const;
const LAYER: LayerWork = { calibrating: 5, quantizing: 2, propagating: 3 };
const LAYERS = 20;
const BATCHES = 10;
const FLAT: LayerWork = { calibrating: 1, quantizing: 1, propagating: 1 };

function plan(layers = LAYERS) {
  const indices = Array.from({ length: layers }, (_, index) => index + 1);
  return {
    secondsPerByte: 0,
    streaming: 0,
    layers: new Map(indices.map((index) => [index, LAYER])),
  };
}

/** Runs a job whose phases take so many times longer than planned, and tells what was left before each report. */
function run(slower: LayerWork, noise = () => 1) {
  let clock = 0;
  const time = createTimeLeft(plan(), () => clock * 1000);
  const seen = [{ at: 0, left: time.seconds() }];
  for (const step of plan().layers.keys()) {
    time.begin(step);
    for (const phase of PHASES) {
      for (let batch = 0; batch < BATCHES; batch++) {
        clock += (LAYER[phase] / BATCHES) * slower[phase] * noise();
        time.worked(step, phase, 1 / BATCHES);
        seen.push({ at: clock, left: time.seconds() });
      }
    }
  }
  return { seen, seconds: clock };
}

describe("the time left", () => {
  it("is the plan's at first, and nothing at the end", () => {
    const { seen } = run(FLAT);
    expect(seen[0]?.left).toBe(200);
    expect(seen.at(-1)?.left).toBeCloseTo(0, 9);
  });

  it.each([1 / 50, 1 / 3, 1, 4, 40])(
    "is within a quarter after two of twenty layers that take %f times the plan",
    (factor) => {
      const random = seededRandom(7);
      const slower = { calibrating: factor, quantizing: 3 * factor, propagating: factor / 2 };
      const { seen, seconds } = run(slower, () => 0.8 + 0.4 * random());
      for (const { at, left } of seen.slice(2 * 3 * BATCHES + 1)) {
        expect(Math.abs(at + left - seconds)).toBeLessThan(seconds / 4);
      }
    },
  );

  it("takes no jumps once a layer is done", () => {
    const { seen, seconds } = run({ calibrating: 6, quantizing: 20, propagating: 2 });
    const jumps = seen.map(({ left }, index) => Math.abs(left - (seen[index - 1]?.left ?? left)));
    expect(Math.max(...jumps.slice(3 * BATCHES + 1))).toBeLessThan(seconds / 12);
  });

  it("counts down between two reports", () => {
    let clock = 0;
    const time = createTimeLeft(plan(), () => clock);
    clock = 1000;
    expect(time.seconds()).toBe(199);
    clock = 2000;
    expect(time.seconds()).toBe(198);
  });

  it("leaves out what an earlier run finished, and takes a layer back that begins again", () => {
    const time = createTimeLeft(plan(3), () => 0);
    time.skip(1, 0);
    expect(time.seconds()).toBe(20);
    time.begin(2);
    time.worked(2, "calibrating", 1);
    const left = time.seconds();
    time.begin(2);
    expect(time.seconds()).toBeGreaterThan(left);
  });

  it("follows the network of the last minute where nothing calibrates", () => {
    let clock = 0;
    const streamed = { ...plan(0), secondsPerByte: 1, streaming: 1000 };
    const time = createTimeLeft(streamed, () => clock * 1000);
    const stream = (seconds: number, perByte: number) => {
      for (let byte = 0; byte < seconds / perByte; byte++) {
        clock += perByte;
        time.streamed(1);
      }
    };
    stream(200, 1);
    expect(time.seconds()).toBeCloseTo(800, 6);
    stream(300, 2);
    expect(Math.abs(time.seconds() - 1300)).toBeLessThan(20);
  });
});
