import { describe, expect, it } from "vitest";
import { saveResult } from "./save-result.ts";
import { openResult } from "./open-result.ts";
import { RESULT } from "../testing/fake-services.ts";
import { openApp, failure } from "../testing/open-app.ts";

describe("a result", () => {
  it("is opened from an earlier visit and saved", async () => {
    const app = openApp();
    await openResult(app, RESULT.jobId);
    expect(app.state.screen.value).toBe("done");
    await saveResult(app, "zip");
    expect(app.state.saved.value).toBe("Saved as Llama-3.1-8B-Instruct-W4A16.zip.");
    expect(app.state.saving.value).toBeNull();
  });

  it("is not saved, without complaint, when the picker is dismissed", async () => {
    const app = openApp({
      download: { saveFolder: async () => await Promise.reject(failure("AbortError")) },
    });
    await openResult(app, RESULT.jobId);
    await saveResult(app, "folder");
    expect(app.state.saved.value).toBeNull();
    expect(app.state.failure.value).toBeNull();
  });

  it("shows how much has been saved", async () => {
    const shares: number[] = [];
    const app = openApp({
      download: {
        saveFolder: async (_target, onBytes) => {
          onBytes(1_000);
          shares.push(app.state.saving.value?.savedBytes ?? 0);
          return "Saved.";
        },
      },
    });
    await openResult(app, RESULT.jobId);
    await saveResult(app, "folder");
    expect(shares).toEqual([1_000]);
  });
});
