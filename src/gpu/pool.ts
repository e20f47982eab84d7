/** A fixed set of things that are lent and given back; who finds none waits, in order of asking. */
export class Pool<Item> {
  readonly #free: Item[];
  readonly #waiting: ((item: Item) => void)[] = [];

  constructor(items: readonly Item[]) {
    this.#free = [...items];
  }

  async acquire(): Promise<Item> {
    const item = this.#free.pop();
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
