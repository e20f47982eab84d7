import type { StoredModel } from "../../evaluate/weights/stored-model.ts";
import { waitLater } from "../../wait-later.ts";

/** Lets the embedding come, and what follows it, before the first tokens are known: while a GPU is opened, and text tokenized. */
export function beginReading(model: StoredModel): void {
  model.announce?.(-1);
  // Who reads keeps up: what is fetched ahead of one who does not is written to IndexedDB.
  void waitLater(model.read(model.description.embedding.tensor, { start: 0, end: 1 }));
}
