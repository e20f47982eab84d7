import { expect, it } from "vitest";
import { PROGRESS } from "../testing/fake-services.ts";
import { doneShare, titleText } from "./title-text.ts";

const idle = { screen: "choose", modelName: null, progress: null, failed: false } as const;
const running = { ...idle, screen: "run", modelName: "tiny" } as const;

it("says how far a job is and how long it will take", () => {
  expect(titleText({ ...running, progress: PROGRESS })).toBe("37 % · 4 min · Layerpress");
  expect(titleText({ ...running, progress: { ...PROGRESS, paused: true } })).toBe(
    "Paused · 37 % · Layerpress",
  );
  expect(titleText(running)).toBe("Starting · Layerpress");
});

it("names the model while nothing runs, and says when something stopped", () => {
  expect(titleText(idle)).toBe("Layerpress");
  expect(titleText({ ...idle, screen: "plan", modelName: "tiny" })).toBe("tiny · Layerpress");
  expect(titleText({ ...idle, screen: "done", modelName: "tiny-W4A16" })).toBe(
    "Done · tiny-W4A16 · Layerpress",
  );
  expect(titleText({ ...idle, screen: "plan", modelName: "tiny", failed: true })).toBe(
    "Stopped · tiny · Layerpress",
  );
});

it("counts a job without bytes as not begun, and never more than whole", () => {
  expect(doneShare({ ...PROGRESS, bytesTotal: 0 })).toBe(0);
  expect(doneShare({ ...PROGRESS, bytesDone: PROGRESS.bytesTotal + 1 })).toBe(1);
});
