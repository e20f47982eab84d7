import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { useApp } from "./app-context.ts";

/** Long enough to be read, short enough not to be taken for a state. */
const SHOWN_MS = 2_000;

export interface CopyButtonProps {
  readonly text: string;
  readonly what: string;
  /** Shown where "Copy" alone does not say what of. */
  readonly label?: string;
}

/** Copies `text`; `what` names it for screen readers, who meet several of these. */
export function CopyButton({ text, what, label = "Copy" }: CopyButtonProps) {
  const { services } = useApp();
  const answer = useSignal<string | null>(null);
  useEffect(() => {
    if (answer.value === null) return undefined;
    const timer = setTimeout(() => (answer.value = null), SHOWN_MS);
    return () => clearTimeout(timer);
  }, [answer, answer.value]);
  const copy = async () => {
    try {
      await services.platform.copyText(text);
      answer.value = "Copied";
    } catch {
      answer.value = "Not allowed";
    }
  };
  return (
    <button type="button" class="copy" onClick={() => void copy()} disabled={text === ""}>
      <output>{answer.value}</output>
      {answer.value === null && (
        <>
          {label}
          <span class="unseen"> {what}</span>
        </>
      )}
    </button>
  );
}
