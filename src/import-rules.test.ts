import { readdirSync, readFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { describe, expect, it } from "vitest";

const ROOT = import.meta.dirname;
const STAGES = [
  "source",
  "plan",
  "onload",
  "calibrate",
  "quantize",
  "offload",
  "package",
  "download",
  "evaluate",
];
const FOUNDATIONS = new Set(["model", "gpu", "formats", "errors.ts", "disposal.ts"]);
/** The contract with the page may be named anywhere, as types. */
const CONTRACT = /import type [^;]* from "\.\.\/pipeline\/api\.ts";/g;

interface Import {
  readonly from: string;
  /** Folder or file directly below src/. */
  readonly to: string;
}

/** What the modules of a folder import from beyond it, at run time or as types. */
function importsOf(folder: string): Import[] {
  const modules = readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" }).filter(
    (path) => path.endsWith(".ts") && !path.endsWith(".test.ts"),
  );
  return modules.flatMap((path) => {
    const file = join(ROOT, folder, path);
    const specifiers = readFileSync(file, "utf8")
      .replaceAll(CONTRACT, "")
      .matchAll(/(?:from|import\(?)\s*"(\.[^"]+)"/g);
    return [...specifiers].flatMap(([, specifier = ""]) => {
      const [to = ""] = relative(ROOT, resolve(file, "..", specifier)).split(/[\\/]/);
      return to === folder ? [] : [{ from: join(folder, path), to }];
    });
  });
}

describe("stages", () => {
  it.each(STAGES)("%s stands on the foundations alone", (stage) => {
    const imports = importsOf(stage);
    expect(imports).not.toEqual([]);
    expect(imports.filter(({ to }) => !FOUNDATIONS.has(to))).toEqual([]);
  });
});
