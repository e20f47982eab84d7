import type { ComponentChildren } from "preact";
import { useRef } from "preact/hooks";
import { formatBytes } from "../../formats/text/format-bytes.ts";
import { useApp } from "../parts/app-context.ts";
import { type DatasetFields, hasOwnText, MODEL_TEXT } from "../state/fields/calibration-fields.ts";
import { LockIcon } from "../parts/icons.tsx";
import type { CalibrationSource } from "../../api/job-options.ts";

type Kind = CalibrationSource["kind"];

/** Where the text comes from, and whom that asks. */
export function CalibrationSourceChoice() {
  const { state } = useApp();
  const model = state.model.value;
  const { source, storedJobId } = state.calibration;
  return (
    <div class="sources" role="radiogroup" aria-label="Calibration text">
      {storedJobId.value !== null && (
        <SourceChoice kind="stored" name="What the unfinished job began with">
          <p>Its samples are kept with the job, as token ids, so that the result comes out the same.</p>
        </SourceChoice>
      )}
      {model && hasOwnText(model) && (
        <SourceChoice kind="model" name="The model’s own text">
          <p>
            <code>{MODEL_TEXT}</code>, from where the model is.
          </p>
        </SourceChoice>
      )}
      <SourceChoice kind="file" name="A file">
        {source.value === "file" && <FileChoice />}
      </SourceChoice>
      <SourceChoice kind="dataset" name="A Hugging Face data set">
        {source.value === "dataset" && <Dataset />}
      </SourceChoice>
      <p class="claim">
        <LockIcon />
        {source.value === "dataset"
          ? "Hugging Face is asked for rows of this data set; nothing of yours is sent, and the rows stay on this machine."
          : "The text never leaves this machine."}
      </p>
    </div>
  );
}

interface SourceChoiceProps {
  readonly kind: Kind;
  readonly name: string;
  readonly children: ComponentChildren;
}

function SourceChoice({ kind, name, children }: SourceChoiceProps) {
  const { state } = useApp();
  const { source } = state.calibration;
  return (
    <div class="source-choice">
      <label class="check">
        <input
          type="radio"
          name="calibration-source"
          value={kind}
          checked={source.value === kind}
          onChange={() => (source.value = kind)}
        />
        {name}
      </label>
      {children && <div class="source-detail">{children}</div>}
    </div>
  );
}

function FileChoice() {
  const { state } = useApp();
  const { file } = state.calibration;
  const input = useRef<HTMLInputElement>(null);
  const chosen = (event: { currentTarget: HTMLInputElement }) => {
    const [first] = event.currentTarget.files ?? [];
    if (first) file.value = first;
    event.currentTarget.value = "";
  };
  return (
    <>
      <div class="buttons">
        <button type="button" onClick={() => input.current?.click()} aria-describedby="calibration-file-hint">
          {file.value ? "Choose another file" : "Choose a file"}
        </button>
        <output>
          {file.value && (
            <>
              <strong>{file.value.name}</strong> <span class="quiet">{formatBytes(file.value.size)}</span>
            </>
          )}
        </output>
      </div>
      <input ref={input} type="file" hidden aria-label="Calibration file" onChange={chosen} />
      <p id="calibration-file-hint" class="hint">
        Or drop it anywhere here. Plain text with a sample a paragraph or a line; JSONL, JSON or Parquet with
        “text”, “messages”, “conversations”, or instructions and outputs; or token ids as JSON.
      </p>
      <FileColumn />
    </>
  );
}

/** Takes effect when it is left or entered: the file is read anew for each. */
function FileColumn() {
  const { fileColumn } = useApp().state.calibration;
  return (
    <div class="field">
      <label htmlFor="file-column">Column</label>
      <input
        id="file-column"
        class="code"
        type="text"
        value={fileColumn.value}
        onChange={(event) => (fileColumn.value = event.currentTarget.value)}
        placeholder="found by its name"
        autocomplete="off"
        autocapitalize="none"
        spellcheck={false}
      />
    </div>
  );
}

const DATASET_INPUTS: readonly {
  readonly key: keyof DatasetFields;
  readonly label: string;
  readonly hint: string;
}[] = [
  { key: "name", label: "Data set", hint: "owner/name" },
  { key: "config", label: "Config", hint: "its default" },
  { key: "split", label: "Split", hint: "train" },
  { key: "column", label: "Column", hint: "found by its name" },
];

function Dataset() {
  return (
    <div class="dataset">
      {DATASET_INPUTS.map(({ key, label, hint }) => (
        <DatasetInput key={key} field={key} label={label} hint={hint} />
      ))}
    </div>
  );
}

/** Takes effect when it is left or entered, not at every key: each new name is asked of the Hub. */
function DatasetInput({ field, label, hint }: { field: keyof DatasetFields; label: string; hint: string }) {
  const { dataset } = useApp().state.calibration;
  return (
    <div class="field">
      <label htmlFor={`dataset-${field}`}>{label}</label>
      <input
        id={`dataset-${field}`}
        class="code"
        type="text"
        value={dataset.value[field]}
        onChange={(event) => (dataset.value = { ...dataset.peek(), [field]: event.currentTarget.value })}
        placeholder={hint}
        autocomplete="off"
        autocapitalize="none"
        spellcheck={false}
      />
    </div>
  );
}
