import type { Signal } from "@preact/signals";
import type { ComponentChildren } from "preact";

export interface CheckFieldProps {
  readonly id: string;
  readonly label: string;
  /** LLM Compressor's name of the option, if it has one. */
  readonly option?: string;
  readonly value: Signal<boolean>;
  readonly children: ComponentChildren;
}

/** Something that is done or not, with its hint below it. */
export function CheckField({ id, label, option, value, children }: CheckFieldProps) {
  return (
    <div class="field">
      <label class="check">
        <input
          type="checkbox"
          checked={value.value}
          onChange={(event) => (value.value = event.currentTarget.checked)}
          aria-describedby={`${id}-hint`}
        />
        <span>
          {label}
          {option && (
            <>
              {" "}
              <code class="option">{option}</code>
            </>
          )}
        </span>
      </label>
      <p id={`${id}-hint`} class="hint">
        {children}
      </p>
    </div>
  );
}
