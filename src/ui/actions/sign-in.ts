import { batch } from "@preact/signals";
import type { App } from "../state/app-state.ts";
import { openResult } from "./open-result.ts";
import { sentenceOf } from "./publish-result.ts";

/** Asks the Hub whose the typed token is. */
export async function signInByToken({ state, services }: App): Promise<void> {
  const { publication } = state;
  if (publication.busy.peek() !== null) return;
  batch(() => {
    publication.busy.value = "signing in";
    publication.problem.value = null;
  });
  try {
    publication.account.value = await services.publisher.signIn(
      services.hub.url,
      publication.token.peek().trim(),
    );
  } catch (error) {
    publication.problem.value = sentenceOf(error);
  } finally {
    publication.busy.value = null;
  }
}

/** Leaves for the Hub's login, which comes back to this page; the result waits in the browser's storage. */
export async function signInAtHub({ state, services, pageUrl }: App): Promise<void> {
  const { hub, publisher, platform } = services;
  const { publication, result } = state;
  if (hub.clientId === null) return;
  const back = new URL(pageUrl);
  back.search = "";
  back.hash = "";
  try {
    const jobId = result.peek()?.jobId ?? "";
    const login = { hubUrl: hub.url, clientId: hub.clientId, redirectUrl: back.href, state: jobId };
    const { url, nonce, codeVerifier } = await publisher.beginLogin(login);
    platform.leaveForLogin(url, { nonce, codeVerifier });
  } catch (error) {
    publication.problem.value = sentenceOf(error);
  }
}

/** Ends a login that this page left for, if the page was opened by one, and shows its result again. */
export async function returnFromHub(app: App): Promise<void> {
  const { state, services, pageUrl } = app;
  const parameters = new URL(pageUrl).searchParams;
  if (!parameters.has("state") || !(parameters.has("code") || parameters.has("error"))) return;
  const pending = services.platform.takeLogin();
  if (!pending) return;
  const { publication } = state;
  publication.busy.value = "signing in";
  try {
    const login = { hubUrl: services.hub.url, redirectedUrl: pageUrl, ...pending };
    const { account, token, state: jobId } = await services.publisher.endLogin(login);
    batch(() => {
      publication.token.value = token;
      publication.account.value = account;
    });
    if (jobId) await openResult(app, jobId);
  } catch (error) {
    state.notice.value = sentenceOf(error);
  } finally {
    publication.busy.value = null;
  }
}

export function signOut({ state }: App): void {
  batch(() => {
    state.publication.token.value = "";
    state.publication.account.value = null;
    state.publication.owner.value = null;
    state.publication.problem.value = null;
  });
}
