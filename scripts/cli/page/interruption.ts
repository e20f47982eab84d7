// What ends a command from outside: signals, and the end of npm, which does not hand every signal on.

import { constants } from "node:os";
import { FIRST_PARENTS, npmParents } from "../../prepare.mjs";

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
const PARENT_CHECK_MS = 500;

type Ending = (typeof SIGNALS)[number] | "SIGPIPE";

/** The command was ended from outside. */
export class InterruptedError extends Error {
  override readonly name = "AbortError";
  /** What a shell is told of a process that a signal ended. */
  readonly status: number;

  constructor(signal: Ending) {
    super(`Ended by ${signal}.`);
    this.status = 128 + constants.signals[signal];
  }
}

export interface Interruption extends Disposable {
  /** Never resolves; rejects with an InterruptedError at the first signal. Later ones change nothing. */
  readonly interrupted: Promise<never>;
}

/** Watches for the end of the command until disposed. */
export function watchInterruption(): Interruption {
  let end: (signal: Ending) => void = () => undefined;
  const interrupted = new Promise<never>((_, reject) => {
    end = (signal) => reject(new InterruptedError(signal));
  });
  // Whoever races it gets the error; without a race it is nobody's.
  interrupted.catch(() => undefined);
  for (const signal of SIGNALS) process.on(signal, end);
  // Nobody reads what is printed any more. Without a listener the process would end in the middle of everything.
  const unread = () => end("SIGPIPE");
  for (const stream of [process.stdout, process.stderr]) stream.on("error", unread);
  // A command may outlive the shell that started it; but of one that outlives its npm, nobody would know.
  const orphaned = () => void (npmParents() !== FIRST_PARENTS && end("SIGHUP"));
  const timer = process.env["npm_lifecycle_event"] ? setInterval(orphaned, PARENT_CHECK_MS) : null;
  return {
    interrupted,
    [Symbol.dispose]() {
      for (const signal of SIGNALS) process.off(signal, end);
      if (timer) clearInterval(timer);
    },
  };
}
