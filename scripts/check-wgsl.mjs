// npm run check:wgsl: every kernel through naga, which is what Firefox reads WGSL with. Installs what is missing first.

import { ensureDependencies } from "./prepare.mjs";

ensureDependencies();
const { register } = await import("tsx/esm/api");
register();
const { checkWgsl } = await import("./firefox/check-wgsl.ts");
process.exitCode = await checkWgsl(process.argv.slice(2));
