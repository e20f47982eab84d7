// npm run chaos: jobs of the command line under kills, full disks and bad servers. Installs and builds what is missing first.

import { prepareToDrive } from "./prepare.mjs";

await prepareToDrive();
const { chaosFromCommandLine } = await import("./chaos/chaos.ts");
process.exitCode = await chaosFromCommandLine(process.argv.slice(2));
