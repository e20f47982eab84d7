import { batch } from "@preact/signals";
import { AccessError, isAbort } from "../../errors.ts";
import type { Published, PublishProgress, PublishRequest } from "../../api/publisher-api.ts";
import type { App } from "../state/app-state.ts";
import { nameProblem } from "../../formats/files/repository-name.ts";

type Wanted = Pick<PublishRequest, "token" | "repository" | "visibility" | "existing">;

/** Publishes the shown result as the panel says; what goes wrong stands there as a sentence. */
export async function publishResult(app: App): Promise<void> {
  const { publication, result } = app.state;
  const account = publication.account.peek();
  const shown = result.peek();
  if (!account || !shown || publication.busy.peek() !== null) return;
  const name = (publication.name.peek() ?? shown.name).trim();
  const problem = nameProblem(name);
  if (problem !== null) {
    publication.problem.value = problem;
    return;
  }
  try {
    await publish(app, app.services.hub.url, {
      token: publication.token.peek().trim(),
      repository: `${publication.owner.peek() ?? account.name}/${name}`,
      visibility: publication.visibility.peek(),
      existing: publication.existing.peek(),
    });
  } catch (error) {
    publication.problem.value = isAbort(error)
      ? "Stopped. Publishing again goes on: what has arrived is not sent again."
      : sentenceOf(error);
  }
}

/**
 * Publishes the shown result.
 * @throws AccessError if there is no result; what the Hub refuses; AbortError if it was stopped
 */
export async function publish(app: App, hubUrl: string, wanted: Wanted): Promise<Published> {
  const { state, services } = app;
  const { publication } = state;
  const result = state.result.peek();
  if (!result) throw new AccessError("There is no result to publish.");
  batch(() => {
    publication.busy.value = "publishing";
    publication.progress.value = null;
    publication.published.value = null;
    publication.problem.value = null;
  });
  // An upload, too, asks before the tab is left.
  const held = services.platform.holdForJob();
  try {
    const onProgress = services.platform.newestPerFrame((progress: PublishProgress) => {
      if (publication.busy.peek() !== null) publication.progress.value = progress;
    });
    const request = { jobId: result.jobId, hubUrl, ...wanted };
    const published = await services.publisher.publish(request, onProgress);
    publication.published.value = { ...published, jobId: result.jobId };
    return published;
  } finally {
    held[Symbol.dispose]();
    batch(() => {
      publication.busy.value = null;
      publication.progress.value = null;
    });
  }
}

export async function stopPublishing({ services }: App): Promise<void> {
  await services.publisher.stop();
}

export function sentenceOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
