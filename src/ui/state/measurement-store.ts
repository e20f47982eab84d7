// What was measured of each recipe, kept in this browser so that recipes of one model can be compared over many visits.

import { createStore, delMany, entries, set } from "idb-keyval";
import { StorageError } from "../../errors.ts";
import type { QualityReport } from "../../api/evaluator-api.ts";

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
  /** All that is kept, the oldest first. */
  list(): Promise<MeasuredRecipe[]>;
  /** Keeps a measurement in place of an earlier one of the same result and text. @throws StorageError */
  keep(measured: MeasuredRecipe): Promise<void>;
  /** Forgets what was measured on a model. */
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
    list: async () => (await all()).map(([, measured]) => measured),
    async keep(measured) {
      try {
        await set(keyOf(measured), measured, store);
        const surplus = (await all()).slice(0, -MAX_MEASUREMENTS);
        await delMany(
          surplus.map(([key]) => key),
          store,
        );
      } catch (cause) {
        throw new StorageError(
          `What was measured cannot be kept for a later visit: ${cause instanceof Error ? cause.message : String(cause)}. It is shown here, and can be saved as a file.`,
          { cause },
        );
      }
    },
    async deleteModel(model) {
      const own = (await all()).filter(([, measured]) => measured.model === model);
      await delMany(
        own.map(([key]) => key),
        store,
      );
    },
  };
}

function keyOf({ jobId, report }: MeasuredRecipe): string {
  return JSON.stringify([jobId, report.text, report.tokens, report.windowing]);
}
