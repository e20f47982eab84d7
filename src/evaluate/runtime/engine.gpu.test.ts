import { expect, it } from "vitest";
import { DeviceLostError } from "../../errors.ts";
import { closing, createEngine } from "./engine.ts";

const options = { budgetBytes: 2 ** 20, provider: "webgpu" } as const;
const foreign = new Error("failed to call OrtRun(). ERROR_CODE: 1");

it("what the runtime fails of is told as the GPU's loss where it is lost, and else as it is", async () => {
  const lost = await createEngine(options);
  const losing = closing(lost, async () => {
    lost.gpu?.device.destroy();
    return await Promise.reject(foreign);
  });
  await expect(losing).rejects.toThrow(DeviceLostError);
  const kept = await createEngine(options);
  const failing = closing(kept, async () => await Promise.reject(foreign));
  await expect(failing).rejects.toBe(foreign);
});
