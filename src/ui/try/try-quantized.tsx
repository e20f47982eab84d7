import { useApp } from "../parts/app-context.ts";
import { useLater } from "../parts/use-later.ts";

const loadTryResult = async () => (await import("./try-result.tsx")).TryResult;

/** A model that is quantized already, tried and measured as it is. */
export function TryQuantized() {
  const subject = useApp().state.trial.subject.value;
  const TryResult = useLater(subject !== null, loadTryResult);
  return subject && TryResult && <TryResult />;
}
