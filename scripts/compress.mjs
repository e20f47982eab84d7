// npm run compress: the page's job from the command line. Installs and builds what is missing first.

import { prepareToDrive } from "./prepare.mjs";

await prepareToDrive();
const { compressFromCommandLine } = await import("./cli/compress.ts");
const status = await compressFromCommandLine(process.argv.slice(2));
// All is said: nothing is waited for any more, such as a browser that does not end, and is killed then.
process.stdout.write("", () => process.exit(status));
