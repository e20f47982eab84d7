// npm run check:families: the table of docs/architectures.md. Installs and builds what is missing first.

import { prepareToDrive } from "./prepare.mjs";

await prepareToDrive();
const { checkFamilies } = await import("./families/check-families.ts");
process.exitCode = await checkFamilies(process.argv.slice(2));
