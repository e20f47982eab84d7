import { useEffect, useRef } from "preact/hooks";
import { AdapterBadge } from "./parts/adapter-badge.tsx";
import { AppContext, useApp } from "./parts/app-context.ts";
import type { App as AppModel } from "./state/app-state.ts";
import { ChooseView } from "./choose/choose-view.tsx";
import { DropOverlay } from "./choose/drop-overlay.tsx";
import { FailurePanel } from "./parts/failure.tsx";
import { Mark } from "./parts/icons.tsx";
import { UpdateOffer } from "./parts/update-offer.tsx";
import { useLater } from "./parts/use-later.ts";
import { StorageDialog, StorageButton } from "./stored/storage-panel.tsx";
import type { Screen } from "./state/title-text.ts";

const loadJobView = async () => (await import("./job-view.tsx")).JobView;

export function App({ app }: { app: AppModel }) {
  return (
    <AppContext.Provider value={app}>
      <header class="top">
        <div class="top-inside">
          <span class="wordmark">
            <Mark />
            Layerpress
          </span>
          <AdapterBadge />
          <StorageButton />
        </div>
      </header>
      <main class="page">
        <UpdateOffer />
        <Notice />
        <CurrentView />
      </main>
      <footer class="bottom">
        <p>Runs in this tab alone. No account, no cookies, no analytics.</p>
      </footer>
      <DropOverlay />
      <StorageDialog />
    </AppContext.Provider>
  );
}

function CurrentView() {
  const { state } = useApp();
  const screen = state.screen.value;
  const JobView = useLater(screen !== "choose" || state.inspecting.value !== null, loadJobView);
  // What is not there yet cannot take the focus.
  useFocusOnChange(screen === "choose" || JobView ? screen : null);
  // In the first state a failure stands beside the field that caused it.
  return (
    <>
      {screen !== "choose" && <FailurePanel />}
      {screen === "choose" ? <ChooseView /> : JobView && <JobView screen={screen} />}
    </>
  );
}

/** Moves the focus to the new state's heading, so that keyboards and screen readers arrive where the eye does. */
function useFocusOnChange(screen: Screen | null): void {
  const shown = useRef(screen);
  useEffect(() => {
    if (screen === null || shown.current === screen) return;
    shown.current = screen;
    window.scrollTo(0, 0);
    document.querySelector<HTMLElement>("#state-heading")?.focus({ preventScroll: true });
  }, [screen]);
}

function Notice() {
  const { state } = useApp();
  return <output class="notice">{state.notice.value}</output>;
}
