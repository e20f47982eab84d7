import type { Signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { type NumberRange, readNumber } from "../state/fields/read-number.ts";

export interface NumberFieldProps {
  readonly id: string;
  readonly label: string;
  /** LLM Compressor's name of the option. */
  readonly option: string;
  readonly value: Signal<string>;
  readonly range: NumberRange;
  readonly disabled?: boolean;
  readonly children?: ComponentChildren;
}

/** A number as text, with its hint below it, and what is wrong with it as long as something is. */
export function NumberField({
  id,
  label,
  option,
  value,
  range,
  disabled = false,
  children,
}: NumberFieldProps) {
  const wrong = readNumber(value.value, range) === null;
  const kind = range.whole ? "a whole number" : "a number";
  return (
    <div class="field">
      <OptionLabel htmlFor={id} label={label} option={option} />
      <div class="field-body">
        <input
          id={id}
          type="text"
          inputMode={range.whole ? "numeric" : "decimal"}
          value={value.value}
          onInput={(event) => (value.value = event.currentTarget.value)}
          autocomplete="off"
          disabled={disabled}
          aria-invalid={wrong}
          aria-describedby={`${id}-hint ${id}-problem`}
        />
        <p id={`${id}-problem`} role="alert" class="problem">
          {wrong && `Write ${kind} from ${range.min} to ${range.max}.`}
        </p>
        <p id={`${id}-hint`} class="hint">
          {children}
        </p>
      </div>
    </div>
  );
}

/** A plain word, and the name that recipes and LLM Compressor's functions have for it. */
export function OptionLabel({ htmlFor, label, option }: { htmlFor: string; label: string; option: string }) {
  return (
    <label htmlFor={htmlFor}>
      {label} <code class="option">{option}</code>
    </label>
  );
}
