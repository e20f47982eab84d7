import type { ComponentChildren } from "preact";
import { OptionLabel } from "./number-field.tsx";

export interface ChoiceFieldProps<Choice extends string> {
  readonly id: string;
  readonly label: string;
  /** LLM Compressor's name of the option. */
  readonly option: string;
  readonly value: Choice;
  readonly onChoose: (choice: Choice) => void;
  /** Those that can be had, each with what is said of it. */
  readonly choices: Readonly<Partial<Record<Choice, string>>>;
  readonly children: ComponentChildren;
}

/** One of a few named values, with its hint below it. */
export function ChoiceField<Choice extends string>({
  id,
  label,
  option,
  value,
  onChoose,
  choices,
  children,
}: ChoiceFieldProps<Choice>) {
  const names = Object.keys(choices) as Choice[];
  return (
    <div class="field">
      <OptionLabel htmlFor={id} label={label} option={option} />
      <div class="field-body">
        <select
          id={id}
          value={value}
          onChange={(event) => {
            const chosen = names[event.currentTarget.selectedIndex];
            if (chosen !== undefined) onChoose(chosen);
          }}
          aria-describedby={`${id}-hint`}
        >
          {names.map((name) => (
            <option key={name} value={name}>
              {choices[name]}
            </option>
          ))}
        </select>
        <p id={`${id}-hint`} class="hint">
          {children}
        </p>
      </div>
    </div>
  );
}
