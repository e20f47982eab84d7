import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { defineConfig, type Plugin } from "vite";
import { fillServiceWorker, SERVICE_WORKER } from "./scripts/fill-service-worker.ts";
import { limitFirstLoad } from "./scripts/limit-first-load.ts";

/** The commit that is built, with "+" if files differ from it; "unknown" outside of a repository. */
function builtCommit(): string {
  const git = (...args: string[]) =>
    execFileSync("git", args, {
      cwd: import.meta.dirname,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    });
  try {
    return (
      git("rev-parse", "--short", "HEAD").trim() + (git("status", "--porcelain").trim() === "" ? "" : "+")
    );
  } catch {
    return "unknown";
  }
}

function packageVersion(): string {
  const text = readFileSync(join(import.meta.dirname, "package.json"), "utf8");
  return (JSON.parse(text) as { readonly version: string }).version;
}

/** The development server styles by inline elements and reloads by WebSocket; the built page does neither. */
function relaxPolicyWhileDeveloping(): Plugin {
  return {
    name: "relax-policy-while-developing",
    apply: "serve",
    transformIndexHtml: (html) =>
      html
        .replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")
        .replace("connect-src https: http:", "connect-src https: http: ws: wss:"),
  };
}

export default defineConfig({
  // Relative addresses: the build works from any static host under any path.
  base: "./",
  // A missing file is a 404 while previewing too, not the page.
  appType: "mpa",
  plugins: [relaxPolicyWhileDeveloping(), fillServiceWorker(), limitFirstLoad()],
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  worker: { format: "es" },
  define: {
    LAYERPRESS_COMMIT: JSON.stringify(builtCommit()),
    LAYERPRESS_VERSION: JSON.stringify(packageVersion()),
  },
  build: {
    // The first versions with everything that the page needs; `using` is younger than these and is lowered.
    target: ["chrome123", "edge123", "firefox141", "safari26"],
    // Inlined files would be data: addresses, which the page's policy refuses.
    assetsInlineLimit: 0,
    // All of these browsers know modulepreload.
    modulePreload: { polyfill: false },
    // The benchmark is a page of its own, which shares no script with the application.
    rolldownOptions: {
      // Where the build's seconds went is nothing that whoever starts the page has to read.
      checks: { bundlerTimings: false },
      input: {
        index: "index.html",
        bench: "bench/index.html",
        "service-worker": "workers/service-worker.ts",
      },
      output: {
        // A service worker rules over the folder that it lies in, and is found by its name.
        entryFileNames: ({ name }) =>
          name === "service-worker" ? SERVICE_WORKER : "assets/[name]-[hash].js",
      },
    },
  },
});
