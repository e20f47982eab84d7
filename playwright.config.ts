import { defineConfig } from "@playwright/test";
import { SOFTWARE_GPU_FLAG } from "./scripts/chromium.mjs";

// Tests of the command line start it as users do; its browser finds the software GPU by itself.
process.env["LAYERPRESS_CHROMIUM_FLAGS"] ??= SOFTWARE_GPU_FLAG;

const PORT = 4183;
const baseURL = `http://127.0.0.1:${PORT}/`;

export default defineConfig({
  testDir: "e2e",
  testMatch: "*.spec.ts",
  // One browser at a time: each test has a context of its own, but a software GPU takes every core.
  workers: 1,
  retries: 0,
  forbidOnly: true,
  // Limits that end what hangs, on machines slower than this one too; they promise no speed.
  timeout: 240_000,
  expect: { timeout: 120_000 },
  reporter: "list",
  use: { baseURL },
  webServer: {
    command: `npx vite preview --host 127.0.0.1 --port ${PORT} --strictPort`,
    url: baseURL,
    reuseExistingServer: false,
  },
});
