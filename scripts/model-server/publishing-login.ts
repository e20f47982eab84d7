// "Sign in with Hugging Face": OpenID Connect with PKCE, as far as @huggingface/hub goes through it. The page of consent is left
// out: who comes is let in as the first account.

import { createHash } from "node:crypto";
import type { HubReply, HubRequest, HubState } from "./publishing-state.ts";

const CODE = "code-of-this-test";
export const OAUTH_TOKEN = "hf_oauth_of_this_test";
export const CLIENT_ID = "client-of-this-test";
/** The challenge of the login under way. */
let challenge = "";

/** Null for what has nothing to do with signing in. */
export function loginRoute(state: HubState, { url, authorization, body }: HubRequest): HubReply | null {
  const { hub } = state.urls;
  switch (url.pathname) {
    case "/.well-known/openid-configuration":
      return json(200, {
        authorization_endpoint: `${hub}/oauth/authorize`,
        token_endpoint: `${hub}/oauth/token`,
        userinfo_endpoint: `${hub}/oauth/userinfo`,
      });
    case "/oauth/authorize":
      return authorize(url);
    case "/oauth/token": {
      const form = new URLSearchParams(body.toString());
      const proof = createHash("sha256")
        .update(form.get("code_verifier") ?? "")
        .digest("base64url");
      if (form.get("code") !== CODE || proof !== challenge) return json(400, { error: "invalid_grant" });
      return json(200, {
        access_token: OAUTH_TOKEN,
        expires_in: 28_800,
        scope: "openid profile contribute-repos",
      });
    }
    case "/oauth/userinfo": {
      const account = state.accounts[OAUTH_TOKEN];
      if (!account || authorization !== `Bearer ${OAUTH_TOKEN}`) return json(401, { error: "invalid_token" });
      const orgs = account.orgs.map((name) => ({ sub: name, name, preferred_username: name }));
      return json(200, { sub: "1", name: account.name, preferred_username: account.name, orgs });
    }
    default:
      return null;
  }
}

function authorize(url: URL): HubReply {
  const asked = url.searchParams;
  const back = new URL(asked.get("redirect_uri") ?? "");
  if (asked.get("client_id") !== CLIENT_ID || asked.get("code_challenge_method") !== "S256")
    return json(400, { error: "invalid_client" });
  challenge = asked.get("code_challenge") ?? "";
  back.searchParams.set("code", CODE);
  back.searchParams.set("state", asked.get("state") ?? "");
  return { status: 302, headers: { location: back.href }, body: "" };
}

function json(status: number, body: unknown): HubReply {
  return { status, headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
}
