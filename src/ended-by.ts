type End = () => Promise<void> | void;

/**
 * What comes of `run`; `ends` follow it one after the other, however it and those before them end.
 * @throws what failed first: what follows a failure often fails of it
 */
export async function endedBy<Result>(run: () => Promise<Result>, ...ends: readonly End[]): Promise<Result> {
  const [end, ...more] = ends;
  if (!end) return await run();
  const ended = async () => {
    const result = await undoneBy(run, end);
    await end();
    return result;
  };
  return await endedBy(ended, ...more);
}

/**
 * What comes of `run`; where it fails, `undo` follows.
 * @throws what `run` failed of
 */
export async function undoneBy<Result>(run: () => Promise<Result>, undo: End): Promise<Result> {
  try {
    return await run();
  } catch (error) {
    try {
      await undo();
    } catch {
      // Why there is something to be undone matters more.
    }
    throw error;
  }
}
