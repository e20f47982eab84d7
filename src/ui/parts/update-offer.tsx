import { takeUpdate } from "../actions/take-update.ts";
import { useApp } from "./app-context.ts";

/** Says that a newer build of the page lies ready; never while something is at work here. */
export function UpdateOffer() {
  const app = useApp();
  const { updateReady, running, publication } = app.state;
  const offered = updateReady.value && !running.value && publication.busy.value === null;
  return (
    <output class="update">
      {offered && (
        <>
          A new version of this page is ready.
          <button type="button" class="link" onClick={() => void takeUpdate(app)}>
            Reload into it
          </button>
        </>
      )}
    </output>
  );
}
