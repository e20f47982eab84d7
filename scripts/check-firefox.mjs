// npm run check:firefox: data-free presets in Firefox, byte for byte. Installs and builds what is missing first.

import { spawnSync } from "node:child_process";
import { prepareToDrive } from "./prepare.mjs";

if ("WebSocket" in globalThis) {
  await prepareToDrive();
  const { checkFirefox } = await import("./firefox/check-firefox.ts");
  process.exitCode = await checkFirefox(process.argv.slice(2));
} else {
  // Node has it behind a flag until release 22.
  const args = ["--experimental-websocket", ...process.argv.slice(1)];
  process.exitCode = spawnSync(process.execPath, args, { stdio: "inherit" }).status ?? 1;
}
