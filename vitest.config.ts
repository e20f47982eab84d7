import { playwright } from "@vitest/browser-playwright";
import { defineConfig } from "vitest/config";
import { chromiumFlags, findChromium } from "./scripts/chromium.mjs";

const executablePath = (await findChromium()) ?? undefined;
const launchOptions = {
  args: chromiumFlags({ software: true }),
  ...(executablePath ? { executablePath } : {}),
};

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "node",
          environment: "node",
          // Files share their modules: loading them anew for each took half of the time.
          isolate: false,
          testTimeout: 60_000,
          hookTimeout: 60_000,
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
          setupFiles: "./src/testing/expect-ledgers-kept.ts",
          testTimeout: 120_000,
          hookTimeout: 120_000,
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
