// npm run release: the page as a folder for any static host, and for a static Space of the Hub.

import { prepareToDrive } from "./prepare.mjs";

await prepareToDrive();
const { releaseFromCommandLine } = await import("./cli/release.ts");
process.exitCode = await releaseFromCommandLine(process.argv.slice(2));
