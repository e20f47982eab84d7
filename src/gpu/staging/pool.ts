/** A fixed set of things that are lent and given back, the one that was given back first first; who finds none waits, in order of asking. */
export class Pool<Item> {
  readonly #free: Item[];
  readonly #waiting: ((item: Item) => void)[] = [];

  constructor(items: readonly Item[]) {
    this.#free = [...items];
  }

  async acquire(): Promise<Item> {
    const item = this.#free.shift();
    if (item !== undefined) return item;
    return await new Promise((resolve) => {
      this.#waiting.push(resolve);
    });
  }

  release(item: Item): void {
    const next = this.#waiting.shift();
    if (next) next(item);
    else this.#free.push(item);
  }
}
