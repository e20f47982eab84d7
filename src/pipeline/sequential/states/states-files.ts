// Hidden states that come from another job, or that this one makes for others.

import type { HiddenBytes } from "../../../calibrate/hidden-states.ts";
import {
  MAX_STATES_HEADER_BYTES,
  readStatesHeader,
  type StatesFacts,
  statesFileName,
  statesHeader,
} from "../../../calibrate/states-file.ts";
import { CalibrationError, invariant } from "../../../errors.ts";
import { openHiddenFile } from "../../../offload/job-file.ts";
import { openOutputFolder } from "../../../offload/job-folder.ts";
import { buildFacts } from "../../../package/build-facts.ts";
import type { CalibrationJob } from "../../calibration/plan-calibrated-layers.ts";
import { recordedForward } from "../../job/job-journal.ts";
import type { Job, RunOutput } from "../../job/job.ts";

const PIECE_BYTES = 16 * 1024 ** 2;

/**
 * Copies given states into the file that the first layer's are read from.
 * @param files those of all samples, in any order
 * @throws CalibrationError if they are of another job, another layer or another version, or not whole
 */
export async function takeStates(
  { plan: { part } }: Job,
  files: readonly File[],
  to: HiddenBytes,
  bytes: { readonly perToken: number; readonly all: number },
): Promise<void> {
  invariant(part?.asked.kind === "layers", "states are given to a range of layers");
  const { asked, jobId } = part;
  const opened = await Promise.all(
    files.map(async (file) => await openStates(file, { job: jobId, layer: asked.first })),
  );
  const inOrder = opened.toSorted((a, b) => a.firstToken - b.firstToken);
  let at = 0;
  for (const { file, firstToken, headerBytes } of inOrder) {
    if (firstToken * bytes.perToken !== at) throw notWhole(file, at / bytes.perToken, firstToken);
    for (let from = headerBytes; from < file.size; from += PIECE_BYTES) {
      const piece = new Uint8Array(await file.slice(from, from + PIECE_BYTES).arrayBuffer());
      if (at + piece.byteLength <= bytes.all) to.write(at, piece);
      at += piece.byteLength;
    }
  }
  const [first] = files;
  if (first && at !== bytes.all) throw refusal(first.name, `have ${at} bytes where ${bytes.all} are due`);
}

/** Reads what a file says of itself, and holds it against the job. */
async function openStates(
  file: File,
  wanted: Pick<StatesFacts, "job" | "layer">,
): Promise<{ readonly file: File; readonly firstToken: number; readonly headerBytes: number }> {
  const beginning = new Uint8Array(await file.slice(0, MAX_STATES_HEADER_BYTES).arrayBuffer());
  const { facts, headerBytes } = readStatesHeader(file.name, beginning, file.size);
  const { commit } = buildFacts();
  const problem =
    facts.job !== wanted.job
      ? "are of another source, recipe or calibration text"
      : facts.version !== commit
        ? `were made by Layerpress ${facts.version}; this is ${commit}`
        : facts.layer !== wanted.layer
          ? `are those in front of layer ${facts.layer}, not ${wanted.layer}`
          : null;
  if (problem !== null) throw refusal(file.name, problem);
  return { file, firstToken: facts.firstToken, headerBytes };
}

function refusal(name: string, problem: string): CalibrationError {
  return new CalibrationError(
    `The hidden states in ${name} ${problem}. Make them again with --states-at and the options of this job.`,
  );
}

function notWhole({ name }: File, due: number, firstToken: number): CalibrationError {
  return new CalibrationError(
    `The hidden states in ${name} begin at token ${firstToken} where token ${due} is due: a share of the samples is missing, given twice, or cut with another GPU budget than the others. Name the folders of all shares, made with one budget, each once with --from-states.`,
  );
}

/** What of a job's states is kept, and how. */
export function statesKeeper(
  { plan: { part } }: Job,
  { plan: { hidden, hiddenBytes } }: CalibrationJob,
  { folder, journal }: RunOutput,
  stored: (generation: number) => HiddenBytes,
) {
  const wanted = new Set(part?.asked.kind === "states" ? part.asked.at : []);
  return {
    keepsStates: (layer: number) => wanted.has(layer),
    async keepStates(layer: number) {
      invariant(part, "only a part keeps states");
      const facts = {
        job: part.jobId,
        version: buildFacts().commit,
        layer,
        forwardProducts: recordedForward(journal) ?? "F32",
        firstToken: part.firstToken,
      };
      const bytesPerToken = hidden.size * (hidden.dtype === "F32" ? 4 : 2);
      const shape = { dtype: hidden.dtype, tokens: hiddenBytes / bytesPerToken, hiddenSize: hidden.size };
      const header = statesHeader(facts, shape);
      const output = await openOutputFolder(folder);
      using file = await openHiddenFile(output, statesFileName(layer), header.byteLength + hiddenBytes);
      file.write(0, header);
      const from = stored(layer);
      for (let at = 0; at < hiddenBytes; at += PIECE_BYTES) {
        const bytes = from.read(at, Math.min(PIECE_BYTES, hiddenBytes - at));
        file.write(header.byteLength + at, bytes);
      }
      file.flush();
    },
  };
}
