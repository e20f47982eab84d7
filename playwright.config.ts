import { defineConfig } from "@playwright/test";

const PORT = 4183;
const baseURL = `http://127.0.0.1:${PORT}/`;

export default defineConfig({
  testDir: "e2e",
  testMatch: "*.spec.ts",
  // A test waits much: for a browser to start, for the other core. Each has a context of its own.
  workers: 2,
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
