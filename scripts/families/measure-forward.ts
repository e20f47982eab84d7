// The forward pass of this working tree in a Chromium with the software GPU.

import { createReadStream } from "node:fs";
import { join } from "node:path";
import { chromium } from "playwright";
import { createServer, type Plugin } from "vite";
import { chromiumFlags, findChromium } from "../chromium.mjs";
import type { Fixture } from "./fixture.ts";
import type { Tell } from "./resume.ts";
import { endedBy } from "../../src/ended-by.ts";

const BLANK = "/blank.html";
const FILES = "/checkpoints/";

/** Tells of hidden states after the embedding and each layer, then logits: largest differences over the reference's deviation. */
export async function measureForward(
  fixtures: readonly Fixture[],
  tell: Tell<readonly number[]>,
): Promise<void> {
  const server = await createServer({
    root: join(import.meta.dirname, "../.."),
    logLevel: "error",
    plugins: [serve(fixtures)],
    server: { host: "127.0.0.1", port: 0, hmr: false, watch: null },
  });
  await server.listen();
  const executablePath = (await findChromium()) ?? undefined;
  const browser = await chromium.launch({
    args: chromiumFlags({ software: true }),
    ...(executablePath ? { executablePath } : {}),
  });
  const measure = async () => {
    const page = await browser.newPage();
    const origin = server.resolvedUrls?.local[0] ?? "";
    await page.goto(new URL(BLANK, origin).href);
    for (const [index, { name }] of fixtures.entries()) {
      const call = `import("/src/testing/fixtures/forward-errors.ts").then(({ measureFixture }) => measureFixture("${index}", "${FILES.slice(0, -1)}"))`;
      const errors = await page
        .evaluate<number[]>(call)
        .catch((error: unknown) => String(error).split("\n", 1)[0] ?? "");
      const isFinite = typeof errors === "string" || errors.every(Number.isFinite);
      const value = isFinite ? errors : "Error: hidden states or logits are no finite numbers";
      console.log(`  ${name}: ${typeof value === "string" ? value : Math.max(...value).toExponential(1)}`);
      tell(name, value);
    }
  };
  await endedBy(
    measure,
    async () => await browser.close(),
    async () => await server.close(),
  );
}

/** An empty page, and the files of the checkpoints by their number. */
function serve(fixtures: readonly Fixture[]): Plugin {
  return {
    name: "checkpoints",
    configureServer({ middlewares }) {
      middlewares.use((request, response, next) => {
        const { url = "" } = request;
        if (url === BLANK) {
          response.setHeader("Content-Type", "text/html");
          response.end("<!doctype html><title>Checkpoints</title>");
          return;
        }
        const [index = "", file = ""] = url.startsWith(FILES) ? url.slice(FILES.length).split("/") : [];
        const fixture = fixtures[Number(index)];
        if (index === "" || !fixture || !/^[\w.-]+$/.test(file)) {
          next();
          return;
        }
        createReadStream(join(fixture.folder, file)).on("error", next).pipe(response);
      });
    },
  };
}
