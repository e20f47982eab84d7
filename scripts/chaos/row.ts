// What is told of a round, and of all rounds together.

import type { Ended } from "./run-command.ts";

export interface Row {
  readonly round: number;
  readonly kind: string;
  readonly what: string;
  /** The server's fault by its name; null in other rounds. */
  readonly fault: string | null;
  /** How the command ended that was disturbed. */
  readonly first: string;
  readonly hung: boolean;
  /** An error that is none of ours, or a trace where a sentence belongs. */
  readonly foreign: boolean;
  readonly seconds: number;
  /** Seconds from the fault's beginning until the command said that it waits, and until it ended; null if it did not. */
  readonly word: number | null;
  readonly sentence: number | null;
  /** "equal", or what became of the same command, given again. */
  readonly again: string;
  readonly processes: readonly string[];
  readonly temporary: readonly string[];
}

export function isGood({ again, hung, foreign, processes, temporary }: Row): boolean {
  return again === "equal" && !hung && !foreign && processes.length === 0 && temporary.length === 0;
}

export function lineOf(row: Row): string {
  const { round, what, first, seconds, word, sentence, again, processes, temporary } = row;
  const since = [word, sentence].map((each) => (each === null ? "–" : `${each.toFixed(1)} s`)).join(" / ");
  const left = [...processes, ...temporary].join(", ") || "nothing";
  return `| ${round} | ${what} | ${first} | ${seconds.toFixed(1)} s | ${since} | ${again} | ${left} |`;
}

export const HEAD =
  "| Round | What | The command | Took | Word / sentence after | The same command again | Left behind |\n|---|---|---|---|---|---|---|";

/** The numbers of all rounds, and for each fault that stayed how long it was until a word and until the sentence. */
export function summary(rows: readonly Row[]): string {
  const count = (is: (row: Row) => boolean) => rows.filter(is).length;
  const kinds = [...new Set(rows.map(({ kind }) => kind))].map(
    (kind) => `${count((row) => row.kind === kind)} ${kind}`,
  );
  const lines = [
    `${rows.length} rounds (${kinds.join(", ")}): ${count(isGood)} good.`,
    `Other bytes: ${count(({ again }) => again.startsWith("differs"))}. No result: ${count(({ again }) => again.startsWith("failed"))}. Hung: ${count(({ hung }) => hung)}. Foreign errors: ${count(({ foreign }) => foreign)}. Processes left: ${count(({ processes }) => processes.length > 0)}. Temporary files left: ${count(({ temporary }) => temporary.length > 0)}.`,
  ];
  const faults = rows.filter(({ fault, what }) => fault !== null && what.includes("for good"));
  if (faults.length === 0) return lines.join("\n");
  const shown = faults.map(({ fault, word, sentence, first }) => {
    const [said, ended] = [word, sentence].map((each) => (each === null ? "–" : each.toFixed(1)));
    return `| ${fault} | ${said} | ${ended} | ${first} |`;
  });
  return [
    ...lines,
    "",
    "| Fault, for good | Seconds until a word | until the end | The end |",
    "|---|---|---|---|",
    ...shown,
  ].join("\n");
}

/** The last sentence of a command. */
export function sentenceOf({ outcome, said }: Ended): string {
  return outcome?.error?.message ?? said.trimEnd().split("\n").at(-1) ?? "";
}

export function endOf(ended: Ended): string {
  if (ended.hung) return `HUNG after: ${sentenceOf(ended).slice(0, 200)}`;
  if (ended.status === 0) return "done";
  return ended.status === null ? "killed" : `exit ${ended.status}: ${sentenceOf(ended).slice(0, 200)}`;
}

/** Names of errors that carry a sentence; the browser's end and signals are told of by errors of the command line. */
const OWN = /^([A-Z]\w+Error)$/;
const FOREIGN = /^(Type|Range|Reference|Syntax|Eval|URI|Aggregate|Timeout|Target\w*)?Error$/;

/** Whether a command that ended by itself, and not well, did so without a sentence of ours. */
export function isForeign({ status, hung, outcome, said }: Ended): boolean {
  if (hung || status === 0 || status === null || status > 128) return false;
  const name = outcome?.error?.name ?? "Error";
  return !OWN.test(name) || FOREIGN.test(name) || /Defect: |^\s+at \S+ \(/m.test(said);
}
