import { useEffect } from "preact/hooks";
import { formatBytes } from "../../formats/text/format-bytes.ts";
import type { Published, PublishProgress } from "../../api/publisher-api.ts";
import { useApp } from "../parts/app-context.ts";
import { publishResult, stopPublishing } from "../actions/publish-result.ts";
import { signInAtHub, signInByToken, signOut } from "../actions/sign-in.ts";
import { formatDuration } from "../words/format-duration.ts";
import { PublishFields } from "./publish-fields.tsx";

/** From the browser's storage to a repository of the Hub. */
export function PublishPanel() {
  const { state, services } = useApp();
  const { publication } = state;
  const published = publication.published.value;
  const host = new URL(services.hub.url).host;
  return (
    <section class="panel publish" aria-labelledby="publish-heading">
      <h2 id="publish-heading">Publish to the Hub</h2>
      {publication.account.value ? <SignedIn /> : <SignIn host={host} />}
      <p role="alert" class="problem">
        {publication.problem.value}
      </p>
      <output class="saved">
        {published && published.jobId === state.result.value?.jobId && <Done published={published} />}
      </output>
    </section>
  );
}

function Done({ published: { repository, url, commit } }: { published: Published }) {
  return (
    <>
      Published as <a href={`${url}/tree/${commit}`}>{repository}</a>, commit {commit.slice(0, 7)}.
    </>
  );
}

function SignIn({ host }: { host: string }) {
  const app = useApp();
  const { publication } = app.state;
  const { clientId } = app.services.hub;
  const busy = publication.busy.value !== null;
  return (
    <form
      class="sign-in"
      onSubmit={(event) => {
        event.preventDefault();
        void signInByToken(app);
      }}
    >
      {clientId !== null && (
        <p class="buttons">
          <button type="button" class="primary" disabled={busy} onClick={() => void signInAtHub(app)}>
            Sign in at {host}
          </button>
          <span class="hint">This tab goes there and comes back; the result waits here.</span>
        </p>
      )}
      <div class="field">
        <label htmlFor="write-token">{clientId === null ? "Write token" : "Or a write token"}</label>
        <div class="token-row">
          <input
            id="write-token"
            type="password"
            value={publication.token.value}
            onInput={(event) => (publication.token.value = event.currentTarget.value)}
            placeholder="hf_…"
            autocomplete="off"
            aria-describedby="write-token-hint"
          />
          <button type="submit" disabled={busy || publication.token.value.trim() === ""}>
            Use it
          </button>
        </div>
        <p id="write-token-hint" class="hint">
          A token with write permission, from {host}’s settings. It is sent to {host} alone, kept in memory,
          and gone when this tab closes.
        </p>
      </div>
      <output>{publication.busy.value === "signing in" && `Asking ${host} whose it is…`}</output>
    </form>
  );
}

function SignedIn() {
  const app = useApp();
  const { publication, result } = app.state;
  const busy = publication.busy.value !== null;
  const jobId = result.value?.jobId;
  const { publisher } = app.services;
  useEffect(() => {
    if (jobId === undefined) return;
    // Without it the panel says that none is stated, which is true of what cannot be read.
    void publisher.license(jobId).then(
      (license) => (publication.license.value = license),
      () => undefined,
    );
  }, [jobId, publisher, publication]);
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        void publishResult(app);
      }}
    >
      <p class="signed-in">
        Signed in as <strong>{publication.account.value?.name}</strong>
        <button type="button" class="link" disabled={busy} onClick={() => signOut(app)}>
          Sign out
        </button>
      </p>
      <PublishFields busy={busy} />
      <div class="buttons">
        <button type="submit" class="primary" disabled={busy}>
          Publish
        </button>
        {publication.busy.value === "publishing" && (
          <button type="button" onClick={() => void stopPublishing(app)}>
            Stop
          </button>
        )}
      </div>
      {publication.progress.value && <Progress progress={publication.progress.value} />}
    </form>
  );
}

const PHASES = {
  preparing: "Asking the Hub",
  hashing: "Hashing",
  uploading: "Uploading",
  committing: "Committing",
} as const;

function Progress({ progress }: { progress: PublishProgress }) {
  const { phase, doneBytes, totalBytes, bytesPerSecond, secondsLeft } = progress;
  const measured = phase === "hashing" || phase === "uploading";
  return (
    <div class="saving">
      <progress aria-label={PHASES[phase]} {...(measured ? { max: totalBytes, value: doneBytes } : {})} />
      <span>
        {PHASES[phase]}
        {measured && `: ${formatBytes(doneBytes)} of ${formatBytes(totalBytes)}`}
        {measured && bytesPerSecond > 0 && `, ${formatBytes(bytesPerSecond)}/s`}
        {secondsLeft !== null && `, ${formatDuration(secondsLeft)} left`}
      </span>
    </div>
  );
}
