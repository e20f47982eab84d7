import { useApp } from "../parts/app-context.ts";

/** Where the result goes, who sees it, and what it carries over. */
export function PublishFields({ busy }: { busy: boolean }) {
  const { state } = useApp();
  const { publication } = state;
  const account = publication.account.value;
  return (
    <fieldset class="bare publish-fields" disabled={busy} aria-label="Repository">
      <div class="field">
        <label htmlFor="publish-owner">Owner</label>
        <select
          id="publish-owner"
          value={publication.owner.value ?? account?.name ?? ""}
          onChange={(event) => (publication.owner.value = event.currentTarget.value)}
        >
          {account?.owners.map((owner) => (
            <option key={owner} value={owner}>
              {owner}
            </option>
          ))}
        </select>
      </div>
      <div class="field">
        <label htmlFor="publish-name">Name</label>
        <input
          id="publish-name"
          type="text"
          value={publication.name.value ?? state.result.value?.name ?? ""}
          onInput={(event) => (publication.name.value = event.currentTarget.value)}
          autocomplete="off"
          spellcheck={false}
        />
      </div>
      <Visibility />
      <label class="check">
        <input
          type="checkbox"
          checked={publication.existing.value}
          onChange={(event) => (publication.existing.value = event.currentTarget.checked)}
        />
        Commit into the repository if it holds something already
      </label>
      <p class="hint">
        {publication.license.value === null
          ? "The original states no licence, and so does the result’s card."
          : `The original’s licence is carried over: ${publication.license.value}.`}{" "}
        The card names the recipe, what was measured, the hashes, and a model of the Hub as the base model.
      </p>
    </fieldset>
  );
}

function Visibility() {
  const { visibility } = useApp().state.publication;
  return (
    <div class="field" role="radiogroup" aria-label="Visibility">
      {(["private", "public"] as const).map((choice) => (
        <label key={choice} class="check">
          <input
            type="radio"
            name="visibility"
            checked={visibility.value === choice}
            onChange={() => (visibility.value = choice)}
          />
          {choice === "private" ? "Private: you and who you let in" : "Public: everybody"}
        </label>
      ))}
    </div>
  );
}
