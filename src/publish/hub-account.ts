// Who publishes: by a token that was pasted, or by signing in at the Hub (OpenID Connect with PKCE). Nothing of it is stored here.

import { oauthHandleRedirect, oauthLoginUrl, whoAmI } from "@huggingface/hub";
import { AccessError } from "../errors.ts";
import type { HubAccount, PendingLogin, PublisherApi } from "../api/publisher-api.ts";
import { hubFetch, PUBLISH_TIMING } from "./hub-fetch.ts";
import { isHubToken, TOKEN_SENTENCE } from "../formats/files/hub-token.ts";
import { publishFailure } from "./publish-failure.ts";

/** Repositories that this page makes can be made and written to; no others are seen. */
const SCOPES = "openid profile contribute-repos";

/**
 * Whose a token is.
 * @throws AccessError if the Hub refuses it; NetworkError
 */
export async function signIn(hubUrl: string, token: string): Promise<HubAccount> {
  if (!isHubToken(token)) throw new AccessError(TOKEN_SENTENCE);
  const { signal } = new AbortController();
  try {
    const fetch = hubFetch({ hubUrl, token, timing: PUBLISH_TIMING, signal });
    const found = await whoAmI({ hubUrl, accessToken: token, fetch });
    const orgs = found.type === "user" ? found.orgs.map(({ name }) => name) : [];
    return { name: found.name, owners: [found.name, ...orgs] };
  } catch (error) {
    throw publishFailure(error, { hubUrl, repository: "an account" });
  }
}

/** Where the browser has to go to sign in, and what has to be remembered until it comes back. */
export async function beginLogin({
  hubUrl,
  clientId,
  redirectUrl,
  state,
}: Parameters<PublisherApi["beginLogin"]>[0]): Promise<PendingLogin> {
  const kept: { nonce?: string; codeVerifier?: string } = {};
  try {
    const url = await oauthLoginUrl({
      hubUrl,
      clientId,
      redirectUrl,
      state,
      scopes: SCOPES,
      localStorage: kept,
    });
    return { url, nonce: kept.nonce ?? "", codeVerifier: kept.codeVerifier ?? "" };
  } catch (error) {
    throw loginFailure(error, hubUrl);
  }
}

/**
 * Ends a login with the address that the browser came back to.
 * @throws AccessError if it was refused, or is not the one that was begun here
 */
export async function endLogin({
  hubUrl,
  redirectedUrl,
  nonce,
  codeVerifier,
}: Parameters<PublisherApi["endLogin"]>[0]): ReturnType<PublisherApi["endLogin"]> {
  try {
    const found = await oauthHandleRedirect({ hubUrl, redirectedUrl, nonce, codeVerifier });
    const { preferred_username: name, orgs = [] } = found.userInfo;
    const account = { name, owners: [name, ...orgs.map(({ preferred_username: org }) => org)] };
    return { account, token: found.accessToken, state: found.state ?? null };
  } catch (error) {
    throw loginFailure(error, hubUrl);
  }
}

function loginFailure(cause: unknown, hubUrl: string): AccessError {
  const said = cause instanceof Error ? cause.message.split(/ from query parameters|\. URL: /, 1)[0] : "";
  return new AccessError(
    `Signing in at ${new URL(hubUrl).host} did not succeed (${said?.slice(0, 200) ?? ""}). Try again, or paste a token with write permission.`,
    { cause },
  );
}
