import { inOneLine } from "../../src/errors.ts";
import type { Receipt } from "../../src/api/receipt.ts";
import { listSome } from "../../src/formats/text/list-some.ts";

export interface Comparison {
  readonly equal: boolean;
  /** Paths of files whose hashes differ, or that only one of the two has. */
  readonly differing: readonly string[];
  /** What the two were not made alike by: "the GPU (nvidia ada, not amd rdna-3)". */
  readonly causes: readonly string[];
  readonly sentence: string;
}

const SHOWN = 5;

/** Compares a result that was made again with the receipt that it was made by. */
export function compareReceipts(before: Receipt, now: Receipt): Comparison {
  const hashes = ({ files }: Receipt) => new Map(files.map(({ path, sha256 }) => [path, sha256]));
  const [first, second] = [hashes(before), hashes(now)];
  const paths = [...new Set([...first.keys(), ...second.keys()])].toSorted();
  const differing = paths.filter((path) => first.get(path) !== second.get(path));
  const causes = causesOf(before, now);
  const equal = differing.length === 0;
  return { equal, differing, causes, sentence: inOneLine(sentenceOf(paths.length, differing, causes)) };
}

function sentenceOf(files: number, differing: readonly string[], causes: readonly string[]): string {
  const unlike = causes.length > 0 ? ` Not as in the receipt: ${causes.join("; ")}.` : "";
  if (differing.length === 0) return `All ${files} files have the hashes of the receipt.${unlike}`;
  const why = unlike || " Source, text, version and GPU are those of the receipt.";
  return `${differing.length} of ${files} files differ from the receipt: ${listSome(differing, SHOWN)}.${why}`;
}

function causesOf(before: Receipt, now: Receipt): string[] {
  const causes: string[] = [];
  const compare = (what: string, then: string | null, here: string | null) => {
    if (then !== here) causes.push(`${what} (${here ?? "none"}, not ${then ?? "none"})`);
  };
  compare("the source’s commit", before.source.revision, now.source.revision);
  const changed = changedFiles(before.source.files, now.source.files);
  if (changed.length > 0) causes.push(`files of the source (${changed.slice(0, SHOWN).join(", ")})`);
  compare(
    "the calibration’s tokens",
    before.calibration && before.calibration.sha256.slice(0, 12),
    now.calibration && now.calibration.sha256.slice(0, 12),
  );
  const program = ({ made_by: { program: name, version, commit } }: Receipt) =>
    `${name} ${version}, ${commit}`;
  compare("the version", program(before), program(now));
  const adapter = ({ adapter: { vendor, architecture, description } }: Receipt) =>
    [vendor, architecture, description].filter((word) => word !== "").join(" ");
  compare("the GPU", adapter(before), adapter(now));
  const [ran, runs] = [before.forward_products, now.forward_products];
  if (ran !== undefined && runs !== undefined) compare("what forward passes ran on", ran, runs);
  return causes;
}

type SourceFiles = Receipt["source"]["files"];

/** Files that one of both lacks, or that differ in what is known of them. */
function changedFiles(before: SourceFiles, now: SourceFiles): string[] {
  const known = (files: SourceFiles) =>
    new Map(files.map(({ path, bytes, version }) => [path, `${bytes} ${version ?? ""}`]));
  const [first, second] = [known(before), known(now)];
  const paths = new Set([...first.keys(), ...second.keys()]);
  return [...paths].filter((path) => first.get(path) !== second.get(path)).toSorted();
}
