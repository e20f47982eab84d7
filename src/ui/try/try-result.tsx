import type { Generation, GenerationUpdate } from "../../api/evaluator-api.ts";
import { useApp } from "../parts/app-context.ts";
import { diffWords, type Run } from "../words/diff-words.ts";
import { NumberField } from "../parts/number-field.tsx";
import { QualityPanel } from "./quality-panel.tsx";
import { prepareEngine, stopTrial, tryPrompt } from "../actions/try-prompt.ts";
import { MAX_TOKENS, SEED, TEMPERATURE, TOP_P, type Trial } from "../state/fields/trial-fields.ts";

/** The result at work, on an engine that had no part in making it; then how much was lost. */
export function TryResult() {
  const app = useApp();
  const { trial, result } = app.state;
  const busy = trial.busy.value;
  return (
    <section class="panel try-result" aria-labelledby="try-heading">
      <h2 id="try-heading">{result.value ? "Try the result" : "Try this model as it is"}</h2>
      <p class="hint">
        The files are read back and run by onnxruntime-web, an engine that had no part in making them. It is
        downloaded when you begin a prompt (about 17 MB), and runs on the GPU, or on the processor where there
        is none.
      </p>
      <div class="field">
        <label htmlFor="try-prompt">Prompt</label>
        <textarea
          id="try-prompt"
          rows={3}
          value={trial.prompt.value}
          onFocus={() => prepareEngine(app)}
          onInput={(event) => (trial.prompt.value = event.currentTarget.value)}
        />
      </div>
      <Sampling trial={trial} />
      <div class="buttons">
        <button
          type="button"
          class="primary"
          disabled={busy !== null}
          onPointerEnter={() => prepareEngine(app)}
          onClick={() => void tryPrompt(app)}
        >
          Generate
        </button>
        <button type="button" disabled={busy === null} onClick={() => void stopTrial(app)}>
          Stop
        </button>
      </div>
      <output aria-live="polite">{busy}</output>
      <p role="alert" class="problem">
        {trial.problem.value}
      </p>
      <Answers />
      <QualityPanel />
    </section>
  );
}

function Sampling({ trial }: { trial: Trial }) {
  return (
    <details>
      <summary>How to generate</summary>
      <div class="try-fields">
        <NumberField
          id="try-tokens"
          label="Tokens at most"
          option="max_new_tokens"
          value={trial.maxTokens}
          range={MAX_TOKENS}
        />
        <NumberField
          id="try-temperature"
          label="Temperature"
          option="temperature"
          value={trial.temperature}
          range={TEMPERATURE}
        >
          0 always takes the likeliest token.
        </NumberField>
        <NumberField id="try-top-p" label="Top-p" option="top_p" value={trial.topP} range={TOP_P} />
        <NumberField id="try-seed" label="Seed" option="seed" value={trial.seed} range={SEED} />
      </div>
      <Choice label="As a chat message, by the model’s chat template where it has one" value={trial.chat} />
      {trial.reference.value && (
        <Choice label="The original beside it (reads it again)" value={trial.besideOriginal} />
      )}
    </details>
  );
}

function Choice({ label, value }: { label: string; value: Trial["chat"] }) {
  return (
    <label class="check">
      <input
        type="checkbox"
        checked={value.value}
        onChange={(event) => (value.value = event.currentTarget.checked)}
      />{" "}
      {label}
    </label>
  );
}

function Answers() {
  const { model, original } = useApp().state.trial.answers.value;
  if (!model) return null;
  // The space in front continues the prompt.
  const [own, other] = [model.text.trimStart(), (original ?? model).text.trimStart()];
  const { a, b } = diffWords(own, other);
  return (
    <div class="answers">
      <output class="unseen">{[model, original].map(spoken).join(" ")}</output>
      <Answer name="Quantized" answer={model} runs={a} />
      {original && <Answer name="Original" answer={original} runs={b} />}
    </div>
  );
}

/** An answer for screen readers, once it is whole. */
function spoken(answer: GenerationUpdate | Generation | undefined): string {
  return answer && "stop" in answer ? answer.text.trim() : "";
}

interface AnswerProps {
  readonly name: string;
  readonly answer: GenerationUpdate | Generation;
  readonly runs: readonly Run[];
}

function Answer({ name, answer, runs }: AnswerProps) {
  return (
    <article aria-label={`${name} answer`}>
      <h3>{name}</h3>
      <p class="answer-text">{runs.map(({ text, isShared }) => (isShared ? text : <mark>{text}</mark>))}</p>
      <p class="hint">{figures(answer)}</p>
    </article>
  );
}

function figures(answer: GenerationUpdate | Generation): string {
  const speed = `${answer.tokens} tokens, ${answer.tokensPerSecond.toFixed(1)} per second`;
  if (!("stop" in answer)) return speed;
  const where = answer.provider === "webgpu" ? "on the GPU" : "on the processor (WebAssembly)";
  const slow =
    answer.weights === "layer by layer"
      ? " The model is larger than the GPU budget, so that every token reads all layers again."
      : "";
  return `${speed} ${where}; the first after ${answer.secondsToFirst.toFixed(1)} s.${slow}`;
}
