// The contract with the publishing worker, which is started on demand: types only. The token is told with each call and kept
// by nobody between them.

export interface HubAccount {
  readonly name: string;
  /** Names that repositories may be made under: the account's own, then its organizations'. */
  readonly owners: readonly string[];
}

export type Visibility = "private" | "public";

export interface PublishRequest {
  readonly jobId: string;
  /** Origin of the Hub. */
  readonly hubUrl: string;
  /** With write permission. */
  readonly token: string;
  /** "owner/name" */
  readonly repository: string;
  /** Of a repository that is made; one that exists has to be as visible already. */
  readonly visibility: Visibility;
  /** True commits into a repository that holds something already; false refuses to. */
  readonly existing: boolean;
}

export type PublishPhase = "preparing" | "hashing" | "uploading" | "committing";

export interface PublishProgress {
  readonly phase: PublishPhase;
  /** Bytes that the phase is done with. */
  readonly doneBytes: number;
  readonly totalBytes: number;
  /** Over the last seconds; 0 before anything is known. */
  readonly bytesPerSecond: number;
  /** Of the upload; null in other phases and before a rate is known. */
  readonly secondsLeft: number | null;
}

export interface Published {
  readonly repository: string;
  readonly url: string;
  /** The commit that holds the result, 40 hexadecimal digits. */
  readonly commit: string;
}

/** What has to be remembered while the browser is at the Hub's login, and nothing more. */
export interface PendingLogin {
  readonly url: string;
  readonly nonce: string;
  readonly codeVerifier: string;
}

export interface PublisherApi {
  /** Who a token belongs to. */
  signIn(hubUrl: string, token: string): Promise<HubAccount>;
  /** Begins "Sign in with Hugging Face": where the browser has to go. `state` comes back with it. */
  beginLogin(login: {
    readonly hubUrl: string;
    readonly clientId: string;
    readonly redirectUrl: string;
    readonly state: string;
  }): Promise<PendingLogin>;
  /** Ends it, with the address that the browser came back to. */
  endLogin(login: {
    readonly hubUrl: string;
    readonly redirectedUrl: string;
    readonly nonce: string;
    readonly codeVerifier: string;
  }): Promise<{ readonly account: HubAccount; readonly token: string; readonly state: string | null }>;
  /** The licence that the result's model card carries, or null. */
  license(jobId: string): Promise<string | null>;
  /** Uploads a finished result. What arrived before a failure is not sent again. */
  publish(request: PublishRequest, onProgress: (progress: PublishProgress) => void): Promise<Published>;
  /** Ends an upload with an AbortError. */
  stop(): void;
}
