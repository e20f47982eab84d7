import pLimit from "p-limit";

/** What `work` makes of these, so many of them at a time, begun in their order; none is begun after one has failed. */
export async function mapLimited<Item, Made>(
  atOnce: number,
  items: Iterable<Item>,
  work: (item: Item) => Promise<Made>,
): Promise<Made[]> {
  const limit = pLimit(atOnce);
  return await limit.map(items, async (item) => {
    try {
      return await work(item);
    } catch (error) {
      limit.clearQueue();
      throw error;
    }
  });
}
