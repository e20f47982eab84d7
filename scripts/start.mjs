// npm start: installs, builds, and serves the page on localhost.

import { ensureBuild, ensureDependencies, run } from "./prepare.mjs";

ensureDependencies();
ensureBuild();
run("npx", ["vite", "preview", "--port", process.env["PORT"] ?? "4173"]);
