import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve, sep } from "node:path";
import { describe, expect, it } from "vitest";

const ROOT = resolve(import.meta.dirname, "..");
const STAGES = [
  "source",
  "plan",
  "onload",
  "calibrate",
  "quantize",
  "offload",
  "package",
  "download",
  "publish",
  "evaluate",
];
/** `api` holds types alone: what page, workers and stages say to each other. */
const FOUNDATIONS = [
  "model",
  "gpu",
  "formats",
  "api",
  "errors.ts",
  "disposal.ts",
  "start-thread.ts",
  "start-worker.ts",
  "spare-arrays.ts",
  "in-time.ts",
  "map-limited.ts",
  "wait-later.ts",
  "all-ended.ts",
  "joint-work.ts",
  "ended-by.ts",
  "greatest-of.ts",
  "yield-to-messages.ts",
  "storage-answer.ts",
];

/** Each room may import from those before it. */
const FLOORS = {
  "src/formats": ["text", "files", "numbers", "safetensors", "schemes", "weights", "modifiers", "recipe"],
  "src/source": [
    "http",
    "folders",
    "chunks",
    "parse-source.ts",
    "dataset-rows.ts",
    "expose-source.ts",
    "create-source.ts",
  ],
  "src/plan": [
    "pattern",
    "targets",
    "checkpoint",
    "fuse-modules.ts",
    "nothing-error.ts",
    "plan-steps.ts",
    "plan-output.ts",
    "notes",
    "rotation",
    "recipe",
  ],
  "src/pipeline": [
    "inspect",
    "calibration",
    "planning",
    "job",
    "data-free",
    "sequential",
    "result",
    "evaluation",
    "publication",
    "compress.ts",
    "survey-schemes.ts",
    "create-compressor.ts",
  ],
  "src/model/families": ["dense", "experts", "hybrid"],
  "src/pipeline/calibration": [
    "samples",
    "layers",
    "costs",
    "fit",
    "memory",
    "fit-calibration.ts",
    "plan-calibrated-layers.ts",
  ],
  "src/ui/state": [
    "measurements",
    "fields",
    "recipe",
    "links",
    "describe-failure.ts",
    "title-text.ts",
    "services.ts",
    "app-state.ts",
    "restore-options.ts",
  ],
  "src/ui": [
    "words",
    "state",
    "actions",
    "parts",
    "try",
    "choose",
    "plan",
    "run",
    "done",
    "stored",
    "job-view.tsx",
    "app.tsx",
  ],
} as const;

/** Folders whose rooms share the files on top of them: each room may import from those before it, and from these files. */
const ROOMS = {
  "src/pipeline/sequential": ["states", "onload", "exchange", "passes", "rewriting"],
} as const;

/** Import graph of the project's own modules, types counted, tests left out: path below the root to paths. */
function readImports(): Map<string, string[]> {
  const folders = ["src", "workers", "scripts", "bench", "e2e"];
  const paths = folders.flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" })
      .filter((path) => /\.(ts|tsx|mjs)$/.test(path) && !/\.(test|spec)\./.test(path))
      .map((path) => join(folder, path)),
  );
  return new Map(paths.map((path) => [path, importsOf(path)]));
}

function importsOf(path: string): string[] {
  const specifiers = readFileSync(join(ROOT, path), "utf8").matchAll(
    /(?:from|import\(?)\s*"(\.[^"?]+)[^"]*"/g,
  );
  return [...specifiers]
    .map(([, specifier = ""]) => relative(ROOT, resolve(ROOT, dirname(path), specifier)))
    .filter((target) => existsSync(join(ROOT, target)));
}

const imports = readImports();

/** "plan" for "src/plan/checkpoint/read-config.ts" below "src"; null for what lies elsewhere. */
function roomBelow(base: string, path: string): string | null {
  const [first, ...rest] = relative(base, path).split(sep);
  return first === undefined || first === ".." || (rest.length === 0 && first === "") ? null : first;
}

/** Imports from one room of a folder to another one, or out of the folder. */
function arrowsBelow(base: string): { from: string; room: string; to: string | null; target: string }[] {
  return [...imports].flatMap(([from, targets]) => {
    const room = roomBelow(base, from);
    if (room === null) return [];
    return targets
      .map((target) => ({ from, room, to: roomBelow(base, target), target }))
      .filter(({ to }) => to !== room);
  });
}

/** Circles of modules, each as the way around it. */
function circles(): string[][] {
  const found: string[][] = [];
  const done = new Set<string>();
  const visit = (path: string, way: readonly string[]) => {
    const seen = way.indexOf(path);
    if (seen >= 0) found.push([...way.slice(seen), path]);
    if (seen >= 0 || done.has(path)) return;
    for (const target of imports.get(path) ?? []) visit(target, [...way, path]);
    done.add(path);
  };
  for (const path of imports.keys()) visit(path, []);
  return found;
}

describe("imports", () => {
  it("go round in no circle, types counted", () => {
    expect(imports.size).toBeGreaterThan(300);
    expect(circles()).toEqual([]);
  });

  it.each(STAGES)("of stage %s stand on the foundations alone", (stage) => {
    const own = arrowsBelow("src").filter(({ room }) => room === stage);
    expect(own).not.toEqual([]);
    expect(own.filter(({ to }) => to === null || !FOUNDATIONS.includes(to))).toEqual([]);
  });

  it.each(FOUNDATIONS)("of foundation %s stay on the foundations", (foundation) => {
    const own = arrowsBelow("src").filter(({ room }) => room === foundation);
    expect(own.filter(({ to }) => to === null || !FOUNDATIONS.includes(to))).toEqual([]);
  });

  it("of pipeline come from the page nowhere, and those of the page take types and words alone", () => {
    const up = arrowsBelow("src").filter(
      ({ room, to }) => room !== "ui" && room !== "main.tsx" && to === "ui",
    );
    expect(up).toEqual([]);
    const down = arrowsBelow("src").filter(({ room, to }) => room === "ui" && to === "pipeline");
    expect(down).toEqual([]);
  });

  it.each(Object.entries(FLOORS))("of %s go down its floors", (base, floors) => {
    const order: readonly string[] = floors;
    const between = arrowsBelow(base).filter(({ to }) => to !== null);
    expect(between).not.toEqual([]);
    const rooms = new Set(between.flatMap(({ room, to }) => [room, to ?? ""]));
    expect([...rooms].filter((room) => !order.includes(room) && room !== "testing")).toEqual([]);
    const up = between.filter(
      ({ room, to }) => room !== "testing" && order.indexOf(room) < order.indexOf(to ?? ""),
    );
    expect(up).toEqual([]);
  });

  it.each(Object.entries(ROOMS))("of the rooms of %s go down", (base, rooms) => {
    const order: readonly string[] = rooms;
    const isRoom = (name: string) => !/\.tsx?$/.test(name);
    const between = arrowsBelow(base).filter(({ room, to }) => isRoom(room) && to !== null && isRoom(to));
    expect(between.filter(({ room, to }) => !order.includes(room) || !order.includes(to ?? ""))).toEqual([]);
    expect(between.filter(({ room, to }) => order.indexOf(room) < order.indexOf(to ?? ""))).toEqual([]);
  });
});
