/**
 * What comes of `run`; `end` follows it, however that ends.
 * @throws what failed first: `end` often fails of what `run` has failed of
 */
export async function endedBy<Result>(run: () => Promise<Result>, end: () => Promise<void>): Promise<Result> {
  const result = await run().catch(async (error: unknown) => {
    await end().catch(() => undefined);
    throw error;
  });
  await end();
  return result;
}
