import { describe, expect, it, vi } from "vitest";
import type { Compressor } from "../state/services.ts";
import { startJob } from "./start-job.ts";
import { RESULT } from "../testing/fake-services.ts";
import { openInspected, failure } from "../testing/open-app.ts";

describe("running", () => {
  it("takes cancelling for an answer, not for a failure", async () => {
    const app = await openInspected({
      compressor: { start: async () => await Promise.reject(failure("AbortError")) },
    });
    await startJob(app);
    expect(app.state.failure.value).toBeNull();
    expect(app.state.notice.value).toMatch(/Finished layers are kept/);
    expect(app.state.screen.value).toBe("plan");
  });

  it("goes on from the last finished layer after the GPU was lost", async () => {
    const start = vi
      .fn<Compressor["start"]>(async () => [RESULT])
      .mockRejectedValueOnce(failure("DeviceLostError"));
    const app = await openInspected({ compressor: { start } });
    await startJob(app);
    expect(app.state.failure.value?.actions).toContain("go-on");
    await app.state.failure.value?.retry?.();
    expect(app.state.screen.value).toBe("done");
  });

  it("holds the machine awake for as long as the job runs, whatever its end", async () => {
    const released = vi.fn<() => void>();
    const holdForJob = () => ({ [Symbol.dispose]: released });
    const start = async () => {
      expect(released).not.toHaveBeenCalled();
      return await Promise.reject(failure("StorageError"));
    };
    const app = await openInspected({ compressor: { start }, platform: { holdForJob } });
    await startJob(app);
    expect(released).toHaveBeenCalledTimes(1);
  });

  it("does not start twice", async () => {
    const start = vi.fn<Compressor["start"]>(async () => [RESULT]);
    const app = await openInspected({ compressor: { start } });
    await Promise.all([startJob(app), startJob(app)]);
    expect(start).toHaveBeenCalledTimes(1);
  });
});
