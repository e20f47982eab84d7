// What was measured of each recipe, kept in this browser so that recipes of one model can be compared over many visits.

import { createStore, delMany, entries, set } from "idb-keyval";
import { StorageError } from "../../../errors.ts";
import type { QualityReport } from "../../../api/evaluator-api.ts";
import { waitForStore } from "../../../storage-answer.ts";

const answered = waitForStore("The browser’s store for measurements (IndexedDB)");

export interface MeasuredRecipe {
  readonly jobId: string;
  /** What the recipe was tried on: the original's label. */
  readonly model: string;
  readonly recipe: string;
  /** Seconds that the job took; null for a model that was made elsewhere. */
  readonly seconds: number | null;
  /** When it was measured, in milliseconds since 1970. */
  readonly measuredAt: number;
  readonly report: QualityReport;
}

export interface MeasurementStore {
  /** All that is kept, the oldest first. @throws StorageError */
  list(): Promise<MeasuredRecipe[]>;
  /** Keeps a measurement in place of an earlier one of the same result and text. @throws StorageError */
  keep(measured: MeasuredRecipe): Promise<void>;
  /** Forgets what was measured on a model. @throws StorageError */
  deleteModel(model: string): Promise<void>;
}

/** A report of a hundred layers takes some 10 KB. */
const MAX_MEASUREMENTS = 100;

/** Opens the store; its name says how reports are laid out, and is prefixed because an origin may be shared. */
export function openMeasurementStore(name = "layerpress-measurements-1"): MeasurementStore {
  const store = createStore(name, "measurements");
  const all = async () => {
    const found = await entries<string, MeasuredRecipe>(store);
    return found.toSorted(([, a], [, b]) => a.measuredAt - b.measuredAt);
  };
  return {
    list: async () =>
      await inWords(
        async () => (await all()).map(([, measured]) => measured),
        (said) =>
          `What was measured on earlier visits cannot be read: ${said}. Reload the page to try again.`,
      ),
    keep: async (measured) =>
      await inWords(
        async () => {
          await set(keyOf(measured), measured, store);
          const surplus = (await all()).slice(0, -MAX_MEASUREMENTS);
          await delMany(
            surplus.map(([key]) => key),
            store,
          );
        },
        (said) =>
          `What was measured cannot be kept for a later visit: ${said}. It is shown here, and can be saved as a file.`,
      ),
    deleteModel: async (model) =>
      await inWords(
        async () => {
          const own = (await all()).filter(([, measured]) => measured.model === model);
          await delMany(
            own.map(([key]) => key),
            store,
          );
        },
        (said) => `What was measured on ${model} cannot be deleted: ${said}. It is kept as it was.`,
      ),
  };
}

/** @param sentence made of what the browser said of a failure */
async function inWords<Value>(act: () => Promise<Value>, sentence: (said: string) => string): Promise<Value> {
  try {
    return await answered(act());
  } catch (cause) {
    const said = cause instanceof Error ? cause.message.replace(/\.$/, "") : String(cause);
    throw new StorageError(sentence(said), { cause });
  }
}

function keyOf({ jobId, report }: MeasuredRecipe): string {
  return JSON.stringify([jobId, report.text, report.tokens, report.windowing]);
}
