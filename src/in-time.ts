// The end of waiting. Some promises of browsers never settle: those that a process was to answer which has ended, or that a disk
// was to answer which is gone.

/** The outcome of `work`, or a rejection with what `late` makes once it has taken so long. */
export async function inTime<T>(work: Promise<T>, milliseconds: number, late: () => Error): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const ending = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(late()), milliseconds);
  });
  try {
    return await Promise.race([work, ending]);
  } finally {
    clearTimeout(timer);
  }
}
