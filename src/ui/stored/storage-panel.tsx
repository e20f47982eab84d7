import { useEffect, useRef } from "preact/hooks";
import { formatBytes } from "../../formats/text/format-bytes.ts";
import type { StoredJob } from "../../api/compressor-api.ts";
import { useApp } from "../parts/app-context.ts";
import type { App, StoredThings } from "../state/app-state.ts";
import type { MeasuredRecipe } from "../state/measurements/measurement-store.ts";
import { openResult } from "../actions/open-result.ts";
import { deleteStored, persistStored, refreshStored } from "../actions/stored-things.ts";
import type { StoredSource } from "../../api/source-api.ts";

/** Opens the panel, and says how much is kept without opening it. */
export function StorageButton() {
  const { state } = useApp();
  const stored = state.stored.value;
  const bytes = stored ? keptBytes(stored) : 0;
  return (
    <button type="button" class="plain" onClick={() => (state.storageShown.value = true)}>
      Storage {bytes > 0 && <span class="quiet">{formatBytes(bytes)}</span>}
    </button>
  );
}

/** What this browser keeps for the page: results, unfinished jobs and downloaded models, with what deletes them. */
export function StorageDialog() {
  const app = useApp();
  const { state } = app;
  const dialog = useRef<HTMLDialogElement>(null);
  const shown = state.storageShown.value;
  useEffect(() => {
    if (!shown) return dialog.current?.close();
    void refreshStored(app);
    return dialog.current?.showModal();
  }, [app, shown]);
  const stored = state.stored.value;
  return (
    <dialog
      ref={dialog}
      class="storage"
      aria-labelledby="storage-heading"
      onClose={() => (state.storageShown.value = false)}
    >
      <div class="head-line">
        <h2 id="storage-heading">Kept in this browser</h2>
        <button type="button" class="plain" onClick={() => (state.storageShown.value = false)}>
          Close
        </button>
      </div>
      {!stored && <p class="quiet">Looking…</p>}
      {stored && keptCount(stored) === 0 && <p class="quiet">Nothing is kept yet.</p>}
      {stored && <Jobs jobs={stored.jobs} />}
      {stored && <Sources sources={stored.sources} />}
      {stored && <Measurements measurements={stored.measurements} />}
      {stored && <Persistence persisted={stored.persisted} />}
    </dialog>
  );
}

function keptCount({ jobs, sources, measurements }: StoredThings): number {
  return jobs.length + sources.length + measurements.length;
}

function keptBytes({ jobs, sources }: StoredThings): number {
  return [...jobs, ...sources].reduce((sum, { bytes }) => sum + bytes, 0);
}

function Jobs({ jobs }: { jobs: readonly StoredJob[] }) {
  const app = useApp();
  if (jobs.length === 0) return null;
  return (
    <section aria-labelledby="jobs-heading">
      <h3 id="jobs-heading">Jobs</h3>
      <ul class="rows">
        {jobs.map((job) => (
          <li key={job.jobId}>
            <div class="row-text">
              <strong>{job.label}</strong>
              <span class="quiet">
                {job.scheme} · {job.done ? "finished" : `${job.finishedSteps} of ${job.steps} steps`} ·{" "}
                {formatBytes(job.bytes)}
              </span>
            </div>
            <div class="buttons">
              {job.done && !app.state.running.value && (
                <button type="button" onClick={() => void showResult(app, job.jobId)}>
                  Open<span class="unseen"> {job.label}</span>
                </button>
              )}
              <DeleteButton
                name={job.label}
                remove={async () => await app.services.compressor.deleteJob(job.jobId)}
              />
            </div>
          </li>
        ))}
      </ul>
    </section>
  );
}

async function showResult(app: App, jobId: string): Promise<void> {
  app.state.storageShown.value = false;
  await openResult(app, jobId);
}

function Sources({ sources }: { sources: readonly StoredSource[] }) {
  const { services } = useApp();
  if (sources.length === 0) return null;
  return (
    <section aria-labelledby="sources-heading">
      <h3 id="sources-heading">Downloaded parts of models</h3>
      <ul class="rows">
        {sources.map(({ key, label, bytes }) => (
          <li key={key}>
            <div class="row-text">
              <strong>{label}</strong>
              <span class="quiet">{formatBytes(bytes)}</span>
            </div>
            <DeleteButton name={label} remove={async () => await services.source.deleteStored(key)} />
          </li>
        ))}
      </ul>
    </section>
  );
}

/** What was measured, model by model. */
function Measurements({ measurements }: { measurements: readonly MeasuredRecipe[] }) {
  const { services } = useApp();
  if (measurements.length === 0) return null;
  const models = Map.groupBy(measurements, ({ model }) => model);
  return (
    <section aria-labelledby="measurements-heading">
      <h3 id="measurements-heading">Measured recipes</h3>
      <ul class="rows">
        {[...models].map(([model, own]) => (
          <li key={model}>
            <div class="row-text">
              <strong>{model}</strong>
              <span class="quiet">{own.map(({ recipe }) => recipe).join(" · ")}</span>
            </div>
            <DeleteButton
              name={`measurements of ${model}`}
              remove={async () => await services.measurements.deleteModel(model)}
            />
          </li>
        ))}
      </ul>
    </section>
  );
}

function DeleteButton({ name, remove }: { name: string; remove: () => Promise<void> }) {
  const app = useApp();
  return (
    <button
      type="button"
      class="plain danger"
      disabled={app.state.running.value}
      onClick={() => void deleteStored(app, remove)}
    >
      Delete<span class="unseen"> {name}</span>
    </button>
  );
}

function Persistence({ persisted }: { persisted: boolean }) {
  const app = useApp();
  return (
    <section class="persistence">
      <output>
        {persisted
          ? "The browser has promised to keep this until you delete it."
          : "When the disk runs full, the browser may delete all of this by itself, an unfinished job included. It can be asked not to; some browsers answer without asking you."}
      </output>
      {!persisted && (
        <button type="button" onClick={() => void persistStored(app)}>
          Ask the browser to keep it
        </button>
      )}
    </section>
  );
}
