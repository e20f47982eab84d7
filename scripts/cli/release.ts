// Makes the folder and opens it below a path in a browser, as a host serves it, before it says that it is done.

import { cp, readFile, rm, writeFile } from "node:fs/promises";
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { chromium } from "playwright";
import { chromiumFlags, findChromium } from "../chromium.mjs";
import { serveFolder } from "../serve-folder.ts";
import { makeFolders } from "./make-folders.ts";
import { readHub, UsageError } from "./arguments/argument-readers.ts";
import { parseOptions } from "./arguments/parse-words.ts";
import { endedBy } from "../../src/ended-by.ts";

const USAGE = `npm run release -- [options]

  --out FOLDER             where the page is written; release/ if none is named. What an earlier release wrote is replaced
  --oauth-client ID        the page's application at the Hub, for signing in where the page is not in a Space
  --hub URL                another Hub to publish to`;

const ROOT = join(import.meta.dirname, "../..");
/** Says that a folder is a release of this command, which may be replaced. */
const MARK = ".layerpress-release";

/** The Hub's settings of a static Space (huggingface.co/docs/hub/spaces-config-reference). */
const SPACE_CARD = `---
title: Layerpress
colorFrom: gray
colorTo: blue
sdk: static
app_file: index.html
pinned: false
license: apache-2.0
short_description: Compress large language models in a browser tab
hf_oauth: true
hf_oauth_scopes:
  - contribute-repos
---

# Layerpress

Compresses a large language model in a browser tab, one layer at a time. This folder is the built page: static files, which need no
server of their own.
`;

/** Git of the Hub takes files above 10 MB by LFS only. */
const ATTRIBUTES = ["wasm", "safetensors"]
  .map((ending) => `*.${ending} filter=lfs diff=lfs merge=lfs -text\n`)
  .join("");

/** For hosts that read it (Netlify, Cloudflare Pages): hashed files never change, the others are asked for each time. */
const HEADERS = `/*
  X-Content-Type-Options: nosniff
  Referrer-Policy: no-referrer
  Cache-Control: no-cache
/assets/*
  ! Cache-Control
  Cache-Control: public, max-age=31536000, immutable
`;

/** Runs `npm run release`; resolves to the exit status: 0, 1 (the page does not come up), 2 (the command line is wrong). */
export async function releaseFromCommandLine(args: readonly string[]): Promise<number> {
  try {
    const options = {
      out: { type: "string" },
      "oauth-client": { type: "string" },
      hub: { type: "string" },
      help: { type: "boolean", default: false },
    } as const;
    const values = parseOptions(args, options);
    if (values.help) {
      console.log(USAGE);
      return 0;
    }
    const out = resolve(values.out ?? join(ROOT, "release"));
    await writeRelease(out, { hub: readHub(values.hub, "--hub"), client: values["oauth-client"] ?? "" });
    await checkRelease(out);
    console.log(`The page lies in ${out}. It was opened below a path and read the sample model.`);
    return 0;
  } catch (error) {
    const usage = error instanceof UsageError;
    console.error(error instanceof Error ? error.message : String(error));
    if (usage) console.error(`\n${USAGE}`);
    return usage ? 2 : 1;
  }
}

async function writeRelease(
  out: string,
  named: { readonly hub: string; readonly client: string },
): Promise<void> {
  if (existsSync(out) && !existsSync(join(out, MARK)))
    throw new UsageError(
      `--out ${out} is there and is no earlier release. Name a folder that does not exist.`,
    );
  await rm(out, { recursive: true, force: true });
  await makeFolders(out);
  await cp(join(ROOT, "dist"), out, { recursive: true });
  const page = await readFile(join(out, "index.html"), "utf8");
  const own = page
    .replace(
      'name="layerpress:hub" content="https://huggingface.co"',
      `name="layerpress:hub" content="${named.hub}"`,
    )
    .replace(
      'name="layerpress:oauth-client" content=""',
      `name="layerpress:oauth-client" content="${attribute(named.client)}"`,
    );
  await writeFile(join(out, "index.html"), own);
  await writeFile(join(out, "README.md"), SPACE_CARD);
  await writeFile(join(out, ".gitattributes"), ATTRIBUTES);
  await writeFile(join(out, "_headers"), HEADERS);
  await writeFile(join(out, MARK), "");
}

function attribute(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll('"', "&quot;");
}

/** @throws Error if the page does not come up below a path, or asks for what is not in the folder */
async function checkRelease(folder: string): Promise<void> {
  await using served = await serveFolder(folder, "/below/a/path/");
  const executablePath = await findChromium();
  const browser = await chromium.launch({
    ...(executablePath ? { executablePath } : {}),
    args: chromiumFlags(),
  });
  const check = async () => {
    const page = await browser.newPage();
    await page.goto(`${served.url}?shown=no`);
    await page.waitForFunction(() => "layerpress" in globalThis);
    const model = await page.evaluate(
      async () => (await globalThis.layerpress.inspect("sample/", null)).source.name,
    );
    const outside = served.asked.filter((path) => !path.startsWith("/below/a/path/"));
    if (model !== "sample" || outside.length > 0)
      throw new Error(`The page asks for what lies outside of its folder: ${outside.join(", ")}.`);
  };
  await endedBy(check, async () => await browser.close());
}
