import { expect, it } from "vitest";
import { DeviceLostError } from "../../errors.ts";
import { watchDevice } from "./watch-device.ts";

/** What is watched of a device. */
function createDevice(lost: Promise<{ readonly message: string }>) {
  const device = Object.assign(new EventTarget(), { lost }) as unknown as GPUDevice;
  const report = (message: string) =>
    device.dispatchEvent(Object.assign(new Event("uncapturederror"), { error: { message } }));
  return { device, report };
}

const NEVER_LOST = new Promise<never>(() => undefined);

it.each([
  ["hung", "The GPU was lost (hung): another program, the driver or the system took it away."],
  ["", "The GPU was lost: another program, the driver or the system took it away."],
])("tells of a loss in the browser's words, if it has some: %j", async (message, told) => {
  const lost = Promise.resolve({ message });
  using failure = watchDevice(createDevice(lost).device);
  failure.throwIfThere();
  expect(failure.isThere).toBe(false);
  await lost;
  expect(failure.isThere).toBe(true);
  expect(() => failure.throwIfThere()).toThrow(new DeviceLostError(told));
});

it("keeps what failed first, whoever was told of it", () => {
  const { device, report } = createDevice(NEVER_LOST);
  using failure = watchDevice(device);
  report("a binding is missing");
  report("a pass is open");
  failure.keep(new DeviceLostError("The GPU was lost while it was computing."));
  expect(() => failure.throwIfThere()).toThrow("Defect: a binding is missing");
});

it("hears of no errors once it is disposed of", () => {
  const { device, report } = createDevice(NEVER_LOST);
  const failure = watchDevice(device);
  failure[Symbol.dispose]();
  report("a binding is missing");
  expect(failure.isThere).toBe(false);
});
