// Options of `npm run compress` that ask for a share of a job.

import { resolve } from "node:path";
import type { SampleShare } from "../../../src/api/job-options.ts";
import { UsageError } from "./argument-readers.ts";

export const SHARE_OPTIONS = {
  share: { type: "string" },
  exchange: { type: "string" },
  patience: { type: "string" },
} as const;

const PATIENCE_SECONDS = 600;

export interface AskedShare extends SampleShare {
  /** Where the shares find each other's files. */
  readonly folder: string;
  /** How long another share may give no sign of life while this one waits for it. */
  readonly patienceSeconds: number;
}

export interface ShareValues {
  readonly share?: string | undefined;
  readonly exchange?: string | undefined;
  readonly patience?: string | undefined;
}

/** @throws UsageError if the options are not understood, or one of them is missing */
export function readShare({ share, exchange, patience }: ShareValues): AskedShare | null {
  if (share === undefined) {
    for (const [option, value] of [
      ["exchange", exchange],
      ["patience", patience],
    ] as const)
      if (value !== undefined)
        throw new UsageError(`--${option} is for jobs that share samples: it needs --share I/N.`);
    return null;
  }
  if (exchange === undefined)
    throw new UsageError(
      "--share needs --exchange FOLDER, which all shares see: there they find each other's files.",
    );
  const patienceSeconds = patience === undefined ? PATIENCE_SECONDS : Number(patience);
  if (!Number.isSafeInteger(patienceSeconds) || patienceSeconds < 1)
    throw new UsageError(`--patience ${patience} is no number of seconds.`);
  return { ...readFraction("share", share), folder: resolve(exchange), patienceSeconds };
}

/** "2/3": the second of three. */
export function readFraction(option: string, text: string): SampleShare {
  const [, number, of] = /^(\d{1,4})\/(\d{1,4})$/.exec(text) ?? [];
  const share = { index: Number(number) - 1, of: Number(of) };
  if (share.index >= 0 && share.index < share.of) return share;
  throw new UsageError(`--${option} ${text} is no share such as 2/3, the second of three.`);
}
