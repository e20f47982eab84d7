import { describe, expect, it, vi } from "vitest";
import { goOn, inspectAddress, inspectFiles } from "./inspect-model.ts";
import type { Compressor } from "../state/services.ts";
import { JOB, MODEL, RESULT } from "../testing/fake-services.ts";
import { openApp, deferred, failure } from "../testing/open-app.ts";

describe("choosing", () => {
  it("hands the worker the address as typed and the token", async () => {
    const inspect = vi.fn<Compressor["inspect"]>(async () => MODEL);
    const app = openApp({ compressor: { inspect } });
    app.state.address.value = " sample/ ";
    app.state.token.value = " hf_x ";
    await inspectAddress(app);
    expect(inspect).toHaveBeenCalledWith({ kind: "address", address: "sample/" }, "hf_x");
  });

  it("shows a refusal and inspects again on request", async () => {
    const inspect = vi
      .fn<Compressor["inspect"]>(async () => MODEL)
      .mockRejectedValueOnce(failure("NetworkError"));
    const app = openApp({ compressor: { inspect } });
    app.state.address.value = "org/name";
    await inspectAddress(app);
    expect(app.state.failure.value?.message).toBe("A sentence.");
    expect(app.state.screen.value).toBe("choose");
    await app.state.failure.value?.retry?.();
    expect(app.state.failure.value).toBeNull();
    expect(app.state.screen.value).toBe("plan");
  });

  it("lets a second look overtake a first that hangs", async () => {
    const hanging = deferred<typeof MODEL>();
    const inspect = vi.fn<Compressor["inspect"]>(async () => MODEL).mockReturnValueOnce(hanging.promise);
    const app = openApp({ compressor: { inspect } });
    app.state.address.value = "org/slow";
    const first = inspectAddress(app);
    app.state.address.value = "org/name";
    await inspectAddress(app);
    expect(app.state.inspecting.value).toBeNull();
    hanging.resolve({ ...MODEL, architecture: "late" });
    await first;
    expect(app.state.model.value).toBe(MODEL);
  });

  it("goes on with an unfinished job with the options it had", async () => {
    const start = vi.fn<Compressor["start"]>(async () => [RESULT]);
    const app = openApp({ compressor: { start } });
    const options = { ...JOB.options, keepSource: true, gpuBudgetBytes: 1_234_567_891 };
    await goOn(app, { ...JOB, options });
    expect(start).toHaveBeenCalledWith(options, expect.anything());
    expect(app.state.screen.value).toBe("done");
  });

  it("asks for the whole address of a job whose address was not kept whole, and restores its options", async () => {
    const inspect = vi
      .fn<Compressor["inspect"]>(async () => MODEL)
      .mockRejectedValueOnce(failure("AccessError"));
    const app = openApp({ compressor: { inspect } });
    const options = { ...JOB.options, keepSource: true };
    const job = { ...JOB, address: "https://models.example/tiny/", addressShortened: true, options };
    await goOn(app, job);
    expect(app.state.awaitingSource.value).toBe(job);
    app.state.address.value = "https://models.example/tiny/?token=s";
    await inspectAddress(app);
    expect(app.state.awaitingSource.value).toBeNull();
    expect(app.state.keepSource.value).toBe(true);
  });

  it("waits for dropped files to be dropped again", async () => {
    const start = vi.fn<Compressor["start"]>(async () => [RESULT]);
    const app = openApp({ compressor: { start } });
    const options = { ...JOB.options, recipe: { kind: "yaml", text: "a: 1" } } as const;
    await goOn(app, { ...JOB, address: null, options });
    expect(app.state.awaitingSource.value?.jobId).toBe(JOB.jobId);
    await inspectFiles(app, { kind: "files", files: [] });
    expect(app.state.options.value?.recipe).toEqual({ kind: "yaml", text: "a: 1" });
    expect(app.state.awaitingSource.value).toBeNull();
    expect(start).not.toHaveBeenCalled();
  });
});
