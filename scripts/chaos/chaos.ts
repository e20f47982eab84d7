// Rounds of one job of the command line: disturbed once, then run again; its bytes must be those of a job that was left alone.

import { appendFileSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { UsageError } from "../cli/arguments/argument-readers.ts";
import { parseOptions } from "../cli/arguments/parse-words.ts";
import { endInWords, readCount } from "../cli/end-in-words.ts";
import { seededRandom } from "../../src/testing/random.ts";
import { type ModelServer, startModelServer } from "../model-server/model-server.ts";
import { folderModel } from "../model-server/served-model.ts";
import { mountSmallDisk, type SmallDisk } from "./full-disk.ts";
import { type Command, type Ended, killAll, killOne, processesOf, startCommand } from "./run-command.ts";
import { BROWSER, takeTemporary } from "./left-behind.ts";
import { endOf, HEAD, isForeign, isGood, lineOf, type Row, sentenceOf, summary } from "./row.ts";
import { different, digests } from "./same-bytes.ts";
import { FAULT_NAMES, faultOf, type ServerFault } from "./server-faults.ts";
import { endedBy } from "../../src/ended-by.ts";

const USAGE = `npm run chaos -- [--rounds N] [--seed N] [--kinds kill,disk,server] [--recipe RECIPE] [--limit SECONDS] [--rows FILE] [--faults NAMES]

Runs the sample model's job N times (6), kinds in turn, and prints a table: what was done when, how the command ended, whether
the same command then came to the bytes of an undisturbed job, what was left behind; and, for each fault of a server that stayed, the
seconds until a word and until the sentence. --faults names the faults of the server; --rows adds each round to a file, a JSON object a
line. Exits with 1 if a byte differed,
a command hung, ended without a sentence, or left processes or files behind.`;
const SAMPLE = "public/sample";
/** Room for a browser's profile and the job, so that it fills in the middle and not at the start. */
const DISK_MIB = 256;
const YOUNG_MS = 2000;
const LOOK_MS = 10;
const KINDS = ["kill", "disk", "server"] as const;
type Kind = (typeof KINDS)[number];

/** What all rounds share. */
interface Chaos {
  readonly recipe: readonly string[];
  readonly limitMs: number;
  readonly folder: string;
  readonly server: ModelServer;
  readonly random: () => number;
  readonly disk: SmallDisk | null;
  /** Names of the server's faults, which come in turn. */
  readonly faults: readonly string[];
  /** Where temporary files of the commands go. */
  readonly temporary: string;
}

/** A job that nothing happened to. */
interface Undisturbed {
  readonly digests: ReadonlyMap<string, string>;
  readonly seconds: number;
}

/** Runs `npm run chaos`; resolves to the exit status. */
export async function chaosFromCommandLine(args: readonly string[]): Promise<number> {
  return await endInWords(USAGE, async () => await runChaos(args));
}

async function runChaos(args: readonly string[]): Promise<number> {
  const values = parseOptions(args, {
    rounds: { type: "string", default: "6" },
    seed: { type: "string", default: String(Date.now() % 2 ** 31) },
    kinds: { type: "string", default: KINDS.join(",") },
    recipe: { type: "string", default: "W4A16" },
    limit: { type: "string", default: "180" },
    rows: { type: "string" },
    faults: { type: "string", default: FAULT_NAMES.join(",") },
    help: { type: "boolean", default: false },
  });
  const kinds = KINDS.filter((kind) => values.kinds.split(",").includes(kind));
  if (values.help || kinds.length === 0) {
    console.log(USAGE);
    return values.help ? 0 : 2;
  }
  const [seed, count, limit] = [
    readCount("seed", values.seed),
    readCount("rounds", values.rounds),
    readCount("limit", values.limit),
  ];
  const faults = readFaults(values.faults);
  const folder = mkdtempSync(join(tmpdir(), "layerpress-chaos-"));
  const server = await startModelServer({ models: { "sample/model": { files: await folderModel(SAMPLE) } } });
  const disk = kinds.includes("disk") ? mountSmallDisk(join(folder, "disk"), DISK_MIB) : null;
  const random = seededRandom(seed);
  const recipe = ["--recipe", values.recipe];
  const temporary = join(folder, "tmp");
  mkdirSync(temporary);
  const chaos: Chaos = { recipe, limitMs: limit * 1000, folder, server, random, disk, faults, temporary };
  console.log(`seed ${seed}`);
  const keep = (row: Row) => {
    if (values.rows !== undefined) appendFileSync(values.rows, `${JSON.stringify(row)}\n`);
  };
  return await endedBy(
    async () => await rounds(chaos, kinds, count, keep),
    () => disk?.[Symbol.dispose](),
    server.close,
    () => rmSync(folder, { recursive: true, force: true }),
  );
}

/** @throws UsageError for a name that is none */
function readFaults(text: string): string[] {
  const names = text.split(",");
  const unknown = names.find((name) => !FAULT_NAMES.includes(name));
  if (unknown === undefined) return names;
  throw new UsageError(`--faults knows no ${JSON.stringify(unknown)}; there are ${FAULT_NAMES.join(", ")}.`);
}

async function rounds(
  chaos: Chaos,
  kinds: readonly Kind[],
  count: number,
  keep: (row: Row) => void,
): Promise<number> {
  const whole = await undisturbed(chaos);
  console.log(`undisturbed: ${whole.seconds.toFixed(1)} s, ${whole.digests.size} files\n\n${HEAD}`);
  const rows: Row[] = [];
  for (let round = 0; round < count; round++) {
    const kind = kinds[round % kinds.length] ?? "kill";
    const row = await runRound(chaos, whole, kind, round, Math.floor(round / kinds.length));
    rows.push(row);
    keep(row);
    console.log(lineOf(row));
  }
  console.log(`\n${summary(rows)}`);
  return rows.every(isGood) ? 0 : 1;
}

async function undisturbed(chaos: Chaos): Promise<Undisturbed> {
  const out = join(chaos.folder, "undisturbed");
  const ended = await begin(chaos, out).ended;
  if (ended.status !== 0) throw new Error(`The undisturbed job failed: ${sentenceOf(ended)}`);
  return { digests: digests(out), seconds: ended.seconds };
}

function begin({ server, recipe, limitMs, temporary }: Chaos, out: string): ReturnType<typeof startCommand> {
  return startCommand({ source: `${server.filesUrl}/sample/model/`, out, recipe, temporary, limitMs });
}

/** @param turn how many rounds of its kind were before */
async function runRound(
  chaos: Chaos,
  whole: Undisturbed,
  kind: Kind,
  round: number,
  turn: number,
): Promise<Row> {
  const { server, disk, folder, temporary } = chaos;
  const out = join(kind === "disk" && disk ? disk.path : folder, `out-${round}`);
  const { what, ended: first, fault } = await DISTURB[kind](chaos, out, whole.seconds, turn);
  server.faults.length = 0;
  disk?.empty();
  // What is killed cannot tidy up.
  const files = first.status === null ? (takeTemporary(temporary), []) : takeTemporary(temporary);
  const again = first.status === 0 ? first : await begin(chaos, out).ended;
  const wrong = again.status === 0 ? different(whole.digests, digests(out)) : null;
  rmSync(out, { recursive: true, force: true });
  const since = (moment: number | null) => {
    const begun = fault?.rule.begunAt ?? null;
    return begun === null || moment === null ? null : (moment - begun) / 1000;
  };
  return {
    round,
    kind,
    what,
    fault: fault?.name ?? null,
    first: endOf(first),
    hung: first.hung || again.hung,
    foreign: isForeign(first) || isForeign(again),
    seconds: first.seconds,
    word: since(first.waitedAt),
    sentence: since(first.endedAt),
    again: verdictOf(again, wrong),
    processes: [...new Set([...first.left, ...again.left])],
    temporary: [...files, ...takeTemporary(temporary)],
  };
}

function verdictOf(again: Ended, wrong: readonly string[] | null): string {
  if (wrong === null) return `failed: ${sentenceOf(again)}`;
  return wrong.length > 0 ? `differs: ${wrong.join(", ")}` : "equal";
}

interface Disturbed {
  readonly what: string;
  readonly ended: Ended;
  readonly fault: ServerFault | null;
}

/** Kills all or one at any moment of the job. */
async function killAnytime(random: () => number, command: Command, usualSeconds: number): Promise<string> {
  const at = random() * usualSeconds;
  const whole = random() < 0.5;
  await Promise.race([delay(at * 1000), command.ended]);
  const killed = whole ? "all" : killOne(command.pid, random());
  if (whole) killAll(command.pid);
  return `kill ${killed} at ${at.toFixed(1)} s`;
}

/** Kills one soon after the browser began, when its processes still wait for each other's first answers. */
async function killYoung(random: () => number, { pid, ended }: Command): Promise<string> {
  const over = ended.then(() => true);
  while (!processesOf(pid).has(BROWSER) && !(await Promise.race([over, delay(LOOK_MS, false)])));
  const age = random() * YOUNG_MS;
  await Promise.race([delay(age), over]);
  return `kill ${killOne(pid, random())} after ${(age / 1000).toFixed(2)} s of the browser`;
}

type Disturbance = (chaos: Chaos, out: string, usualSeconds: number, turn: number) => Promise<Disturbed>;

const DISTURB: Readonly<Record<Kind, Disturbance>> = {
  async kill(chaos, out, usualSeconds) {
    const command = begin(chaos, out);
    const what = await (chaos.random() < 0.5 ? killYoung : killAnytime)(chaos.random, command, usualSeconds);
    // A browser whose command was killed ends by itself.
    return { what, ended: await command.ended, fault: null };
  },
  async disk(chaos, out, usualSeconds) {
    const at = chaos.random() * usualSeconds;
    const command = begin(chaos, out);
    await Promise.race([delay(at * 1000), command.ended]);
    chaos.disk?.fill();
    return { what: `full disk at ${at.toFixed(1)} s`, ended: await command.ended, fault: null };
  },
  async server(chaos, out, _, turn) {
    const fault = faultOf(chaos.faults, turn, chaos.random);
    chaos.server.faults.push(fault.rule);
    return { what: `server: ${fault.what}`, ended: await begin(chaos, out).ended, fault };
  },
};
