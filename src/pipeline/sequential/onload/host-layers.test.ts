import { setImmediate as nextTurn } from "node:timers/promises";
import { expect, it } from "vitest";
import { waitLater } from "../../../wait-later.ts";
import type { StepTraffic } from "../../job/step-traffic.ts";
import type { PlannedStep } from "../../planning/planned-step.ts";
import { createHostLayers } from "./host-layers.ts";

const COUNT = 40;
const copy = Array.from({ length: COUNT }, (_, index) => ({
  name: `tensor ${index}`,
  dtype: "F32",
  shape: [1],
  file: "model.safetensors",
  start: index * 4,
  end: (index + 1) * 4,
}));
const STEP = { copy, quantize: [], calibrated: null } as unknown as PlannedStep;

it("reads no more of a layer behind what cannot be read, and is quiet when nothing is written any more", async () => {
  let go = () => {};
  const gate = new Promise<void>((resolve) => (go = resolve));
  const taken: number[] = [];
  const events: string[] = [];
  const traffic = {
    checkpoint: async () => await Promise.resolve(),
    async take({ start }: { start: number }) {
      taken.push(start);
      if (start === 0) throw new Error("The file is damaged.");
      await gate;
      return new Uint8Array(4);
    },
  } as unknown as StepTraffic;
  const file = { read: () => new Uint8Array(4), write: () => void events.push("written") };
  const hosts = createHostLayers([STEP], traffic, { memoryBytes: 0, file });
  hosts.readAhead(STEP);
  const quiet = hosts.quiet().then(() => events.push("quiet"));
  const reading = waitLater(hosts.take(STEP));
  await nextTurn();
  expect(events).toEqual([]);
  go();
  await expect(reading).rejects.toThrow("The file is damaged.");
  await quiet;
  expect(events).toEqual([...taken.slice(1).map(() => "written"), "quiet"]);
  expect(taken.length).toBeLessThan(COUNT);
});
