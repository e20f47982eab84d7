import { useEffect, useRef } from "preact/hooks";
import { useApp } from "../parts/app-context.ts";
import { inspectAddress } from "../actions/inspect-model.ts";
import { hostOfAddress, SAMPLE_ADDRESS } from "../state/fields/page-address.ts";

/** The one field that takes every way of naming a model, and the token for those that are not public. */
export function SourceForm() {
  const app = useApp();
  const { state } = app;
  const submit = (event: Event) => {
    event.preventDefault();
    void inspectAddress(app);
  };
  return (
    <form onSubmit={submit}>
      <label htmlFor="model-address">Model</label>
      <div class="field-row">
        <input
          id="model-address"
          class="address"
          type="text"
          value={state.address.value}
          onInput={(event) => (state.address.value = event.currentTarget.value)}
          placeholder="org/name or https://…"
          autocomplete="off"
          autocapitalize="none"
          spellcheck={false}
          aria-describedby="model-hint"
        />
        <button type="submit" class="primary" disabled={state.address.value.trim() === ""}>
          Inspect
        </button>
      </div>
      <Hint />
      <Inspecting />
      <div class="beside">
        <Token />
        <button type="button" class="link" onClick={() => void inspectSample()}>
          Try the sample model, 7 MiB
        </button>
      </div>
    </form>
  );

  async function inspectSample(): Promise<void> {
    state.address.value = SAMPLE_ADDRESS;
    await inspectAddress(app);
  }
}

/** Says what Inspect will do and whom it will ask, before it does. */
function Hint() {
  const { state, pageUrl } = useApp();
  const host = hostOfAddress(state.address.value, pageUrl);
  return (
    <p id="model-hint" class="hint">
      {host === null ? (
        "A Hugging Face name or page, or the address of a folder, config.json or safetensors file on any server."
      ) : (
        <>
          Inspecting asks <strong>{host}</strong> for the list of files, config.json and the headers of the
          safetensors files; nothing more until you start.
        </>
      )}
    </p>
  );
}

/** Says that the host was asked; another address can be inspected meanwhile, which gives this one up. */
function Inspecting() {
  const { state } = useApp();
  const inspecting = state.inspecting.value;
  return (
    <output class="inspecting">
      {inspecting && (
        <>
          <progress aria-label="Inspecting" /> Inspecting {inspecting.name}…
        </>
      )}
    </output>
  );
}

function Token() {
  const { state } = useApp();
  const field = useRef<HTMLInputElement>(null);
  const shown = state.tokenShown.value;
  useEffect(() => {
    if (shown) field.current?.focus();
  }, [shown]);
  return (
    <details
      class="token"
      open={shown}
      onToggle={(event) => (state.tokenShown.value = event.currentTarget.open)}
    >
      <summary>Gated or private model</summary>
      <label htmlFor="access-token">Access token</label>
      <input
        id="access-token"
        ref={field}
        type="password"
        value={state.token.value}
        onInput={(event) => (state.token.value = event.currentTarget.value)}
        placeholder="hf_…"
        autocomplete="off"
        aria-describedby="token-hint"
      />
      <p id="token-hint" class="hint">
        A read-only Hugging Face token. It is sent to huggingface.co alone, kept in memory, and gone when this
        tab closes.
      </p>
    </details>
  );
}
