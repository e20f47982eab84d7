import type { PublishPhase, PublishProgress } from "../api/publisher-api.ts";

/** Reports closer than this tell nothing new to a person, and cost a message each. */
const INTERVAL_MS = 100;
/** The rate is that of so long. */
const WINDOW_MS = 10_000;

export interface UploadProgress {
  begin(phase: PublishPhase): void;
  /** A share from 0 to 1 of a file's bytes is done in this phase. */
  file(path: string, share: number): void;
}

/**
 * Adds up what is told of single files.
 * @param sizes bytes of each file by path
 * @param now milliseconds of a clock that only goes on
 */
export function uploadProgress(
  sizes: ReadonlyMap<string, number>,
  tell: (progress: PublishProgress) => void,
  now: () => number = () => performance.now(),
): UploadProgress {
  const totalBytes = [...sizes.values()].reduce((sum, bytes) => sum + bytes, 0);
  let phase: PublishPhase = "preparing";
  let shares = new Map<string, number>();
  let doneBytes = 0;
  let told = -Infinity;
  let marks: { readonly at: number; readonly bytes: number }[] = [];
  const report = () => {
    const at = now();
    told = at;
    marks = [...marks.filter((mark) => mark.at > at - WINDOW_MS), { at, bytes: doneBytes }];
    const [first] = marks;
    const seconds = first ? (at - first.at) / 1000 : 0;
    const bytesPerSecond = first && seconds > 0 ? (doneBytes - first.bytes) / seconds : 0;
    const secondsLeft =
      phase === "uploading" && bytesPerSecond > 0 ? (totalBytes - doneBytes) / bytesPerSecond : null;
    tell({ phase, doneBytes, totalBytes, bytesPerSecond, secondsLeft });
  };
  return {
    begin(next) {
      phase = next;
      shares = new Map();
      doneBytes = 0;
      marks = [];
      report();
    },
    file(path, share) {
      const bytes = sizes.get(path) ?? 0;
      doneBytes += Math.round(bytes * share) - Math.round(bytes * (shares.get(path) ?? 0));
      shares.set(path, share);
      if (now() - told >= INTERVAL_MS || doneBytes === totalBytes) report();
    },
  };
}
