// A command line that makes no sense ends in a sentence and the usage, not in a trace.

import { UsageError } from "./arguments/argument-readers.ts";

/** Runs a command; resolves to its exit status, or to 2 after saying what is wrong with its arguments. */
export async function endInWords(usage: string, run: () => Promise<number>): Promise<number> {
  try {
    return await run();
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    console.error(`${error.message}\n\n${usage}`);
    return 2;
  }
}

/** A count from the command line. @throws UsageError if it is none */
export function readCount(name: string, text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= 0) return value;
  throw new UsageError(`--${name} wants a whole number; ${text} is none.`);
}
