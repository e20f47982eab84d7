// What is told of a failure is what failed first. Whoever waits for something behind it leaves that to `endedBy`, `undoneBy` or `allEnded`:
// what a `finally` waits for, or a `catch` before it throws on, is told in its place where that fails, too.

import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, it } from "vitest";

const ROOT = resolve(import.meta.dirname, "..");
const FOLDERS = ["src", "workers", "scripts", "bench"];
/** These cannot fail. */
const SAFE = /await (?:Promise\.allSettled\(|joint\.ended\(\))|\.catch\(\(\) => undefined\)/;

/** The blocks that begin behind a pattern, up to the brace that closes each. */
function blocksOf(text: string, beginning: RegExp): { readonly thrown: string; readonly block: string }[] {
  return [...text.matchAll(beginning)].map((match) => {
    const start = match.index + match[0].length;
    let end = start;
    for (let open = 1; open > 0 && end < text.length; end++)
      open += { "{": 1, "}": -1 }[text.charAt(end)] ?? 0;
    return { thrown: match[1] ?? "", block: text.slice(start, end - 1) };
  });
}

/** Lines of a file that wait where a failure is on its way; what asks why, or tries again, is no such place. */
function waitsBehindFailures(text: string): string[] {
  const catches = blocksOf(text, /catch(?: |\(async )\((\w+)(?:: unknown)?\)(?: =>)? \{/g);
  const throwOn = catches.filter(
    ({ thrown, block }) => block.trimEnd().endsWith(`throw ${thrown};`) && !/\b(?:if|return)\b/.test(block),
  );
  return [...blocksOf(text, /finally \{/g), ...throwOn]
    .flatMap(({ block }) => block.split("\n"))
    .filter((line) => line.includes("await ") && !SAFE.test(line))
    .map((line) => line.trim());
}

it("finds what waits behind a failure", () => {
  const text = `try { work(); } catch (error) {
    await undo();
    throw error;
  } finally {
    if (open) { await close(); }
    await last().catch(() => undefined);
  }
  work().catch(async (error: unknown) => {
    if (again) return await retry();
    throw error;
  });`;
  expect(waitsBehindFailures(text)).toEqual(["if (open) { await close(); }", "await undo();"]);
});

it("has nothing wait where what failed first could be lost", () => {
  const paths = FOLDERS.flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" })
      .filter((path) => /\.(ts|tsx|mjs)$/.test(path) && !/\.(test|spec)\./.test(path))
      .map((path) => join(folder, path)),
  );
  expect(paths.length).toBeGreaterThan(300);
  const found = paths
    // The one place where it is done.
    .filter((path) => path !== join("src", "ended-by.ts"))
    .map((path) => ({ path, waits: waitsBehindFailures(readFileSync(join(ROOT, path), "utf8")) }))
    .filter(({ waits }) => waits.length > 0);
  expect(found).toEqual([]);
});
