// npm run check:consumers: opens results where people open them. Installs and builds what is missing first.

import { prepareToDrive } from "./prepare.mjs";

await prepareToDrive();
const { checkConsumers } = await import("./consumers/check-consumers.ts");
process.exitCode = await checkConsumers(process.argv.slice(2));
