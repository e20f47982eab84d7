import { describe, expect, it } from "vitest";
import { wakeApp } from "./create-app.ts";
import { deleteStored, refreshStored } from "./stored-things.ts";
import { describeFailure } from "../state/describe-failure.ts";
import { JOB } from "../testing/fake-services.ts";
import { openApp } from "../testing/open-app.ts";

describe("storage", () => {
  it("shows what is left after deleting", async () => {
    let jobs = [JOB];
    const app = openApp({ compressor: { jobs: async () => jobs } });
    await wakeApp(app);
    expect(app.state.stored.value?.jobs).toHaveLength(1);
    await deleteStored(app, async () => {
      jobs = [];
    });
    expect(app.state.stored.value?.jobs).toHaveLength(0);
  });

  it("shows what can be read when a store cannot, and says why", async () => {
    const list = async () => await Promise.reject(new Error("no measurements"));
    const app = openApp({ compressor: { jobs: async () => [JOB] }, measurements: { list } });
    await wakeApp(app);
    expect(app.state.stored.value).toMatchObject({ jobs: [JOB], measurements: [] });
    expect(app.state.failure.value?.message).toBe("no measurements");
    app.state.failure.value = { ...describeFailure(new Error("the job"), "running"), retry: null };
    await refreshStored(app);
    expect(app.state.failure.value.message).toBe("the job");
  });
});
