import { PlanView } from "./plan/plan-view.tsx";
import { ResultView } from "./done/result-view.tsx";
import { RunView } from "./run/run-view.tsx";
import type { Screen } from "./state/title-text.ts";

const VIEWS = { plan: PlanView, run: RunView, done: ResultView } as const;

/** The states after the first; a part of the page of its own, which is fetched while a model is inspected. */
export function JobView({ screen }: { screen: Exclude<Screen, "choose"> }) {
  const View = VIEWS[screen];
  return <View key={screen} />;
}
