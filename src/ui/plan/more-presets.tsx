import { useSignal, useSignalEffect } from "@preact/signals";
import { formatBytes } from "../../formats/text/format-bytes.ts";
import type { PresetSize } from "../../api/compressor-api.ts";
import { useApp } from "../parts/app-context.ts";
import { formatPercent } from "../words/format-count.ts";
import { findPresets, groupPresets, hasCard, type PresetGroup } from "../state/recipe/preset-cards.ts";

/** Every preset without a card, by the bits of its weights; there are too many to read unasked. */
export function MorePresets() {
  const { state } = useApp();
  const open = useSignal(false);
  // A preset that a link or an earlier job chose must not decide from behind a closed fold.
  useSignalEffect(() => {
    if (!hasCard(state.recipe.scheme.value)) open.value = true;
  });
  const groups = groupPresets(state.presets.value);
  const count = groups.reduce((sum, { presets }) => sum + presets.length, 0);
  const known = state.presets.value.length > 0;
  if (known && count === 0) return null;
  return (
    <details
      class="more-presets"
      open={open.value}
      onToggle={(event) => (open.value = event.currentTarget.open)}
    >
      <summary>
        All presets <span class="quiet">{known ? `${count} more` : "…"}</span>
      </summary>
      {open.value && <Groups presets={groups.flatMap((group) => group.presets)} />}
    </details>
  );
}

function Groups({ presets }: { presets: readonly PresetSize[] }) {
  const query = useSignal("");
  const found = groupPresets(findPresets(presets, query.value));
  const count = found.reduce((sum, group) => sum + group.presets.length, 0);
  return (
    <>
      <input
        type="search"
        value={query.value}
        onInput={(event) => (query.value = event.currentTarget.value)}
        placeholder="Filter: fp8, Blackwell, zero points…"
        aria-label="Filter presets"
        autocomplete="off"
        spellcheck={false}
      />
      <output class={count === 0 ? "hint" : "unseen"}>
        {query.value !== "" && (count === 0 ? "No preset has all of these words." : `${count} presets`)}
      </output>
      {found.map((group) => (
        <Group key={group.heading} group={group} />
      ))}
    </>
  );
}

function Group({ group: { heading, presets } }: { group: PresetGroup }) {
  return (
    <section class="preset-group" aria-label={heading}>
      <h2>{heading}</h2>
      {presets.map((preset) => (
        <Preset key={preset.scheme} preset={preset} />
      ))}
    </section>
  );
}

function Preset({ preset: { scheme, title, sentence, problem, resultBytes } }: { preset: PresetSize }) {
  const { state } = useApp();
  const sourceBytes = state.model.value?.weightBytes ?? 0;
  return (
    <label class="preset">
      <input
        type="radio"
        name="preset"
        value={scheme}
        checked={state.recipe.yaml.value === null && state.recipe.scheme.value === scheme}
        onChange={() => (state.recipe.scheme.value = scheme)}
      />
      <span class="preset-name">
        <code>{scheme}</code> {title}
      </span>
      <span class="preset-size">
        {resultBytes !== null && (
          <>
            {formatBytes(resultBytes)}{" "}
            {sourceBytes > 0 && <span class="quiet">{formatPercent(resultBytes / sourceBytes)}</span>}
          </>
        )}
      </span>
      <span class="preset-sentence">{sentence}</span>
      {resultBytes === null && (
        <span class="preset-problem">{problem ?? "It cannot be applied to this model."}</span>
      )}
    </label>
  );
}
