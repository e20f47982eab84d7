// Hidden states that come from another job, or that this one makes for others.

import type { HiddenBytes } from "../../calibrate/hidden-states.ts";
import {
  MAX_STATES_HEADER_BYTES,
  readStatesHeader,
  statesFileName,
  statesHeader,
} from "../../calibrate/states-file.ts";
import { CalibrationError, invariant } from "../../errors.ts";
import { HiddenFile } from "../../offload/hidden-file.ts";
import { openOutputFolder } from "../../offload/job-folder.ts";
import { buildFacts } from "../../package/build-facts.ts";
import type { CalibrationJob } from "../calibration/plan-calibrated-layers.ts";
import { recordedForward } from "../job/job-journal.ts";
import type { Job, JobOutput } from "../job/job.ts";

const PIECE_BYTES = 16 * 1024 ** 2;

/**
 * Copies given states into the file that the first layer's are read from.
 * @throws CalibrationError if they are of another job, another layer or another version, or not whole
 */
export async function takeStates(
  { plan: { part } }: Job,
  file: File,
  to: HiddenBytes,
  bytes: number,
): Promise<void> {
  invariant(part?.asked.kind === "layers", "states are given to a range of layers");
  const beginning = new Uint8Array(await file.slice(0, MAX_STATES_HEADER_BYTES).arrayBuffer());
  const { facts, headerBytes } = readStatesHeader(file.name, beginning, file.size);
  const { commit } = buildFacts();
  const problem =
    facts.job !== part.jobId
      ? "are of another source, recipe or calibration text"
      : facts.version !== commit
        ? `were made by Layerpress ${facts.version}; this is ${commit}`
        : facts.layer !== part.asked.first
          ? `are those in front of layer ${facts.layer}, not ${part.asked.first}`
          : file.size !== headerBytes + bytes
            ? `have ${file.size - headerBytes} bytes where ${bytes} are due`
            : null;
  if (problem !== null)
    throw new CalibrationError(
      `The hidden states in ${file.name} ${problem}. Make them again with --states-at and the options of this job.`,
    );
  for (let at = 0; at < bytes; at += PIECE_BYTES) {
    const piece = file.slice(headerBytes + at, headerBytes + Math.min(at + PIECE_BYTES, bytes));
    to.write(at, new Uint8Array(await piece.arrayBuffer()));
  }
}

/** What of a job's states is kept, and how. */
export function statesKeeper(
  { plan: { part } }: Job,
  { plan: { hidden, hiddenBytes } }: CalibrationJob,
  { folder, journal }: JobOutput,
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
      };
      const bytesPerToken = hidden.size * (hidden.dtype === "F32" ? 4 : 2);
      const shape = { dtype: hidden.dtype, tokens: hiddenBytes / bytesPerToken, hiddenSize: hidden.size };
      const header = statesHeader(facts, shape);
      const output = await openOutputFolder(folder);
      using file = await HiddenFile.open(output, statesFileName(layer), header.byteLength + hiddenBytes);
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
