import { availableParallelism } from "node:os";
import { playwright } from "@vitest/browser-playwright";
import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";
import { chromiumFlags, findTestChromium } from "./scripts/chromium.mjs";

const executablePath = (await findTestChromium()) ?? undefined;
const launchOptions = {
  args: chromiumFlags({ software: true }),
  ...(executablePath ? { executablePath } : {}),
};

/** Whole jobs under the conductor take longest by far: begun last, one would keep a single core at work. */
class WholeJobsFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    // oxlint-disable-next-line unicorn/no-array-sort -- a sequencer's, which copies
    const sorted = await super.sort(files);
    const isJob = ({ moduleId }: TestSpecification) => /\/src\/pipeline\/[\w-]+\.test\.ts$/.test(moduleId);
    return [...sorted.filter(isJob), ...sorted.filter((file) => !isJob(file))];
  }
}

export default defineConfig({
  test: {
    sequence: { sequencer: WholeJobsFirst },
    projects: [
      {
        test: {
          name: "node",
          environment: "node",
          // Files share their modules: loading them anew for each took half of the time.
          isolate: false,
          // Vitest leaves a core to itself, which of two is half: the second worker takes what transforming files leaves of it.
          maxWorkers: Math.max(availableParallelism() - 1, 2),
          // End what hangs, beside the browsers of other stages and on slow machines too; they promise no speed.
          testTimeout: 180_000,
          hookTimeout: 180_000,
          include: ["src/**/*.test.ts", "scripts/**/*.test.ts", "bench/**/*.test.ts"],
          exclude: ["src/**/*.gpu.test.ts", "src/**/*.browser.test.ts"],
        },
      },
      {
        // Found only while a test runs, these would reload it.
        optimizeDeps: { include: ["onnxruntime-web/jspi", "@bufbuild/protobuf", "onnx-buf"] },
        test: {
          name: "gpu",
          include: ["src/**/*.gpu.test.ts", "src/**/*.browser.test.ts"],
          globalSetup: "./scripts/model-server/model-server-setup.ts",
          setupFiles: "./src/testing/test-gpu/expect-ledgers-kept.ts",
          testTimeout: 180_000,
          hookTimeout: 180_000,
          // After the other project's, which have more workers.
          sequence: { groupOrder: 1 },
          // One page for all files: they share a device, whose kernels are compiled once.
          isolate: false,
          fileParallelism: false,
          browser: {
            enabled: true,
            headless: true,
            screenshotFailures: false,
            provider: playwright({ launchOptions }),
            instances: [{ browser: "chromium" }],
          },
        },
      },
    ],
  },
});
