// Builds dist/ unless it is newer than every source: a process of its own, beside which npm test does other work.

import { ensureBuild } from "./prepare.mjs";

ensureBuild();
