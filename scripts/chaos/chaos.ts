// Rounds of one job of the command line: disturbed once, then run again; its bytes must be those of a job that was left alone.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { endInWords, readCount } from "../cli/end-in-words.ts";
import { seededRandom } from "../../src/testing/random.ts";
import { type ModelServer, startModelServer } from "../model-server/model-server.ts";
import { folderModel } from "../model-server/served-model.ts";
import { mountSmallDisk, type SmallDisk } from "./full-disk.ts";
import { type Ended, killAll, killOne, startCommand } from "./run-command.ts";
import { different, digests } from "./same-bytes.ts";
import { faultOf } from "./server-faults.ts";

const USAGE = `npm run chaos -- [--rounds N] [--seed N] [--kinds kill,disk,server] [--recipe RECIPE] [--limit SECONDS]

Runs the sample model's job N times (6), kinds in turn, and prints a table: what was done when, how the command ended, whether
the same command then came to the bytes of an undisturbed job. Exits with 1 if a byte differed or a command hung.`;
const SAMPLE = "public/sample";
/** Room for a browser's profile and the job, so that it fills in the middle and not at the start. */
const DISK_MIB = 256;
const KINDS = ["kill", "disk", "server"] as const;
type Kind = (typeof KINDS)[number];

interface Row {
  readonly round: number;
  readonly what: string;
  readonly first: string;
  readonly seconds: number;
  readonly waitedAfter: number | null;
  readonly again: string;
  readonly good: boolean;
}

/** What all rounds share. */
interface Chaos {
  readonly recipe: readonly string[];
  readonly limitMs: number;
  readonly folder: string;
  readonly server: ModelServer;
  readonly random: () => number;
  readonly disk: SmallDisk | null;
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
  const { values } = parseArgs({
    args: [...args],
    options: {
      rounds: { type: "string", default: "6" },
      seed: { type: "string", default: String(Date.now() % 2 ** 31) },
      kinds: { type: "string", default: KINDS.join(",") },
      recipe: { type: "string", default: "W4A16" },
      limit: { type: "string", default: "180" },
      help: { type: "boolean", default: false },
    },
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
  const folder = mkdtempSync(join(tmpdir(), "layerpress-chaos-"));
  const server = await startModelServer({ models: { "sample/model": { files: await folderModel(SAMPLE) } } });
  const disk = kinds.includes("disk") ? mountSmallDisk(join(folder, "disk"), DISK_MIB) : null;
  const random = seededRandom(seed);
  const recipe = ["--recipe", values.recipe];
  const chaos: Chaos = { recipe, limitMs: limit * 1000, folder, server, random, disk };
  console.log(`seed ${seed}`);
  try {
    return await rounds(chaos, kinds, count);
  } finally {
    disk?.[Symbol.dispose]();
    await server.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function rounds(chaos: Chaos, kinds: readonly Kind[], count: number): Promise<number> {
  const whole = await undisturbed(chaos);
  console.log(`undisturbed: ${whole.seconds.toFixed(1)} s, ${whole.digests.size} files\n`);
  const rows: Row[] = [];
  for (let round = 0; round < count; round++) {
    const kind = kinds[round % kinds.length] ?? "kill";
    const row = await runRound(chaos, whole, kind, round);
    rows.push(row);
    console.log(lineOf(row));
  }
  const bad = rows.filter(({ good }) => !good).length;
  console.log(
    `\n${rows.length} rounds, ${rows.length - bad} ended with the bytes of the undisturbed job, ${bad} did not.`,
  );
  return bad > 0 ? 1 : 0;
}

async function undisturbed(chaos: Chaos): Promise<Undisturbed> {
  const out = join(chaos.folder, "undisturbed");
  const ended = await begin(chaos, out).ended;
  if (ended.status !== 0) throw new Error(`The undisturbed job failed: ${sentenceOf(ended)}`);
  return { digests: digests(out), seconds: ended.seconds };
}

function begin({ server, recipe, limitMs }: Chaos, out: string): ReturnType<typeof startCommand> {
  return startCommand({ source: `${server.filesUrl}/sample/model/`, out, recipe, limitMs });
}

async function runRound(chaos: Chaos, whole: Undisturbed, kind: Kind, round: number): Promise<Row> {
  const { server, disk, folder } = chaos;
  const out = join(kind === "disk" && disk ? disk.path : folder, `out-${round}`);
  const { what, ended: first } = await DISTURB[kind](chaos, out, whole.seconds, round);
  server.faults.length = 0;
  disk?.empty();
  const again = first.status === 0 ? first : await begin(chaos, out).ended;
  const wrong = again.status === 0 ? different(whole.digests, digests(out)) : null;
  rmSync(out, { recursive: true, force: true });
  const verdict =
    wrong === null
      ? `failed: ${sentenceOf(again)}`
      : wrong.length > 0
        ? `differs: ${wrong.join(", ")}`
        : "equal";
  const { seconds, waitedAfter } = first;
  const good = verdict === "equal" && !first.hung;
  return { round, what, first: endOf(first), seconds, waitedAfter, again: verdict, good };
}

type Disturbance = (
  chaos: Chaos,
  out: string,
  usualSeconds: number,
  round: number,
) => Promise<{ readonly what: string; readonly ended: Ended }>;

const DISTURB: Readonly<Record<Kind, Disturbance>> = {
  async kill(chaos, out, usualSeconds) {
    const at = chaos.random() * usualSeconds;
    const whole = chaos.random() < 0.5;
    const command = begin(chaos, out);
    await Promise.race([delay(at * 1000), command.ended]);
    const killed = whole ? "all" : killOne(command.pid, chaos.random());
    if (whole) killAll(command.pid);
    const ended = await command.ended;
    // A browser whose command was killed ends by itself; what is left of it must not stand in the next run's way.
    killAll(command.pid);
    return { what: `kill ${killed} at ${at.toFixed(1)} s`, ended };
  },
  async disk(chaos, out, usualSeconds) {
    const at = chaos.random() * usualSeconds;
    const command = begin(chaos, out);
    await Promise.race([delay(at * 1000), command.ended]);
    chaos.disk?.fill();
    return { what: `full disk at ${at.toFixed(1)} s`, ended: await command.ended };
  },
  async server(chaos, out, _, round) {
    const { rule, what } = faultOf(round, chaos.random);
    chaos.server.faults.push(rule);
    return { what: `server: ${what}`, ended: await begin(chaos, out).ended };
  },
};

function sentenceOf({ outcome, said }: Ended): string {
  return outcome?.error?.message ?? said.trimEnd().split("\n").at(-1) ?? "";
}

function endOf(ended: Ended): string {
  if (ended.hung) return "HUNG";
  if (ended.status === 0) return "done";
  return ended.status === null ? "killed" : `exit ${ended.status}: ${sentenceOf(ended).slice(0, 160)}`;
}

function lineOf({ round, what, first, seconds, waitedAfter, again }: Row): string {
  const waited = waitedAfter === null ? "" : `, first word after ${waitedAfter.toFixed(1)} s`;
  return `| ${round} | ${what} | ${first} | ${seconds.toFixed(1)} s${waited} | ${again} |`;
}
