/**
 * What comes of these once all of them have ended, however they do: what they work with may be given back then.
 * @throws the failure that came first
 */
export async function allEnded<Work extends readonly Promise<unknown>[]>(
  work: readonly [...Work],
): Promise<{ -readonly [Index in keyof Work]: Awaited<Work[Index]> }> {
  try {
    return await Promise.all(work);
  } finally {
    await Promise.allSettled(work);
  }
}
