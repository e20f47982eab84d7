import type { ComponentChildren } from "preact";
import type { FitReport as Report, Verdict } from "../../api/compressor-api.ts";
import { useApp } from "../parts/app-context.ts";
import type { AppState } from "../state/app-state.ts";
import { FailureButtons } from "../parts/failure.tsx";
import { Figures } from "./fit-figures.tsx";
import { JobLink } from "./job-link.tsx";
import { StartButton } from "./start-button.tsx";
import { CheckIcon, CrossIcon, WarningIcon } from "../parts/icons.tsx";

/**
 * Whether the job fits, in words, the button that starts it, and what it will need against what there is. The figures come
 * last: they are made while the button may be on its way to be pressed, and more of them for some recipes than for others.
 */
export function FitReport() {
  const { state } = useApp();
  const fit = state.fit.value;
  const failure = state.planFailure.value;
  return (
    <section class="fit panel" aria-labelledby="fit-heading" aria-busy={state.planning.value}>
      <div class="head-line">
        <h2 id="fit-heading">Fit report</h2>
        {state.planning.value && <span class="planning">{whatIsPlanned(state)}</span>}
      </div>
      <div role="alert">
        {failure && (
          <div class="plan-problem">
            <h3>{failure.heading}</h3>
            <p>{failure.message}</p>
            <p class="buttons">
              <FailureButtons failure={failure} />
            </p>
          </div>
        )}
      </div>
      {!failure && <VerdictText fit={fit} />}
      {fit && !failure && <ServableButton fit={fit} />}
      <StartButton />
      {fit && !failure && <Figures fit={fit} />}
      <JobLink />
    </section>
  );
}

const VERDICT_ICONS: Readonly<Record<Verdict, ComponentChildren>> = {
  fits: <CheckIcon />,
  tight: <WarningIcon />,
  "does-not-fit": <CrossIcon />,
};

/** The verdict and what is to be known with it; its box has the room of the usual sentences before they are made. */
function VerdictText({ fit }: { fit: Report | null }) {
  const { problem } = useApp().state;
  const waits = fit === null && problem.value === null;
  return (
    <output class={`verdict ${fit?.verdict ?? ""}`}>
      {waits && <span class="quiet">Working out what this takes…</span>}
      {fit && <Sentences fit={fit} />}
    </output>
  );
}

function Sentences({ fit: { verdict, sentences, results } }: { fit: Report }) {
  const [first, ...more] = sentences;
  const ofServers = results.flatMap(({ serverNotes }) => serverNotes.map(({ sentence }) => sentence));
  return (
    <>
      {VERDICT_ICONS[verdict]}
      <strong>{first}</strong>
      {[...new Set([...more, ...ofServers])].map((sentence) => (
        <span key={sentence}>{sentence}</span>
      ))}
    </>
  );
}

/** Takes the recipe that leaves alone what a server would refuse; from then on it is one in YAML. */
function ServableButton({ fit: { servableRecipe } }: { fit: Report }) {
  const { yaml } = useApp().state.recipe;
  if (servableRecipe === null) return null;
  return (
    <p class="buttons">
      <button type="button" onClick={() => (yaml.value = servableRecipe)}>
        Ignore what vLLM refuses
      </button>
    </p>
  );
}

/** Said only where it takes a while: reading headers is done in a moment, reading a text is not. */
function whatIsPlanned({ options }: AppState): string | null {
  return options.value?.calibration ? "Reading the calibration text…" : null;
}
