// Tells the built service worker which files there are. It runs when all of them lie in the folder.

import { createHash } from "node:crypto";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Plugin } from "vite";

export const SERVICE_WORKER = "service-worker.js";
/** Benchmarks and the sample model are for those who are online. */
const LEFT_OUT = /^(bench|sample)\/|^assets\/bench|^service-worker\.js$/;
/** Engines of evaluation: tens of megabytes that most visits do not use. */
const LATER_BYTES = 4_000_000;

export function fillServiceWorker(): Plugin {
  return {
    name: "fill-service-worker",
    apply: "build",
    writeBundle: ({ dir }) => {
      if (dir) fill(dir);
    },
  };
}

function fill(folder: string): void {
  const paths = readdirSync(folder, { recursive: true, encoding: "utf8" })
    .map((path) => path.replaceAll("\\", "/"))
    .filter((path) => statSync(join(folder, path)).isFile() && !LEFT_OUT.test(path))
    .toSorted();
  const build = createHash("sha256");
  for (const path of paths) build.update(path).update(readFileSync(join(folder, path)));
  const isLate = (path: string) => statSync(join(folder, path)).size > LATER_BYTES;
  const script = join(folder, SERVICE_WORKER);
  const filled = readFileSync(script, "utf8")
    .replaceAll("LAYERPRESS_BUILD", JSON.stringify(build.digest("hex").slice(0, 16)))
    .replaceAll("LAYERPRESS_FILES", JSON.stringify(paths.filter((path) => !isLate(path))))
    .replaceAll("LAYERPRESS_LATER", JSON.stringify(paths.filter(isLate)));
  writeFileSync(script, filled);
}
