import { useEffect, useState } from "preact/hooks";
import { useApp } from "./app-context.ts";
import { describeFailure } from "../state/describe-failure.ts";

/** A part of the page that is fetched once it is wanted; null until then. That it does not come is shown as a failure. */
export function useLater<Part>(wanted: boolean, load: () => Promise<Part>): Part | null {
  const { state } = useApp();
  const [part, setPart] = useState<{ readonly value: Part } | null>(null);
  useEffect(() => {
    if (!wanted || part) return;
    load().then(
      (value) => setPart({ value }),
      () => {
        const error = new Error("A part of this page could not be loaded. Reload it while online.");
        state.failure.value = { ...describeFailure(error, "starting"), retry: null };
      },
    );
  }, [wanted]);
  return part?.value ?? null;
}
