import { useEffect, useRef } from "preact/hooks";
import { advisedGroupSize } from "../../formats/schemes/group-size-advice.ts";
import { useApp } from "./app-context.ts";
import type { App, ShownFailure } from "../state/app-state.ts";
import type { FailureAction } from "../state/describe-failure.ts";
import { CrossIcon } from "./icons.tsx";
import { chooseAnother } from "../actions/inspect-model.ts";
import { methodOf } from "../state/recipe/recipe-fields.ts";

const LABELS: Readonly<Record<Exclude<FailureAction, "regroup">, string>> = {
  retry: "Try again",
  "go-on": "Go on from the last finished layer",
  "round-to-nearest": "Round to nearest instead",
  token: "Enter a token",
  storage: "See what is stored",
  "choose-another": "Choose another model",
  reload: "Reload the page",
};

/** What went wrong, in the error's own words, with what can be done about it. */
export function FailurePanel() {
  const { state } = useApp();
  const failure = state.failure.value;
  const panel = useRef<HTMLElement>(null);
  useEffect(() => panel.current?.scrollIntoView({ block: "nearest" }), [failure]);
  return (
    <div role="alert">
      {failure && (
        <section class="failure" ref={panel}>
          <CrossIcon />
          <div>
            <h2>{failure.heading}</h2>
            <p>{failure.message}</p>
            {failure.advice && <p>{failure.advice}</p>}
            <p class="buttons">
              <FailureButtons failure={failure} />
              <button type="button" class="plain" onClick={() => (state.failure.value = null)}>
                Dismiss
              </button>
            </p>
          </div>
        </section>
      )}
    </div>
  );
}

/** A button for each thing that can be done about a failure, here and now. */
export function FailureButtons({ failure }: { failure: ShownFailure }) {
  const app = useApp();
  const possible = failure.actions.filter((action) => isPossible(app, failure, action));
  return (
    <>
      {possible.map((action) => (
        <button key={action} type="button" onClick={() => act(app, failure, action)}>
          {action === "regroup" ? `Use groups of ${advisedGroupSize(failure.message)}` : LABELS[action]}
        </button>
      ))}
    </>
  );
}

function isPossible({ state }: App, { retry, message }: ShownFailure, action: FailureAction): boolean {
  if (action === "choose-another") return state.screen.value !== "choose";
  if (action === "round-to-nearest")
    return state.recipe.yaml.value === null && methodOf(state.recipe) === "GPTQModifier";
  if (action === "regroup") return state.recipe.yaml.value === null && advisedGroupSize(message) !== null;
  return retry !== null || (action !== "retry" && action !== "go-on");
}

function act(app: App, failure: ShownFailure, action: FailureAction): void {
  switch (action) {
    case "retry":
    case "go-on":
      void failure.retry?.();
      break;
    case "round-to-nearest":
      app.state.recipe.method.value = "QuantizationModifier";
      app.state.failure.value = null;
      break;
    case "regroup":
      app.state.recipe.groupSize.value = advisedGroupSize(failure.message);
      break;
    case "token":
      enterToken(app);
      break;
    case "storage":
      app.state.storageShown.value = true;
      break;
    case "choose-another":
      chooseAnother(app);
      break;
    case "reload":
      app.services.platform.reload();
      break;
  }
}

/** Back to the form with its token field open; what was said stays to be read. */
function enterToken(app: App): void {
  const failure = app.state.failure.peek();
  chooseAnother(app);
  app.state.failure.value = failure;
  app.state.tokenShown.value = true;
}
