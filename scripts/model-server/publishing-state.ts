// What the fake Hub knows, and what its two origins take and give.

export interface HubRepository {
  private: boolean;
  /** Newest commit, 40 hexadecimal digits. */
  head: string;
  /** Contents by path; of large files, as they arrived in the storage. */
  readonly files: Map<string, Buffer>;
}

export interface HubState {
  readonly urls: { hub: string; storage: string };
  /** Accounts by token. */
  readonly accounts: Readonly<Record<string, { readonly name: string; readonly orgs: readonly string[] }>>;
  readonly repositories: Map<string, HubRepository>;
  /** Objects of the storage by SHA-256. */
  readonly objects: Map<string, Buffer>;
  /** Parts of objects that are being sent, by SHA-256. */
  readonly parts: Map<string, Map<number, Buffer>>;
  /** Objects larger than this are sent in parts of so many bytes. */
  readonly partBytes: number;
  /** What `batch` answers: "lfs", or "xet" as the Hub does today. */
  readonly transfer: "lfs" | "xet";
  /** Bytes that came to the storage, those that were sent again included. */
  storedBytes: number;
}

/** Files up to this size are written into git. */
export const REGULAR_BYTES = 100_000;
export interface HubRequest {
  readonly method: string;
  readonly url: URL;
  readonly authorization: string | null;
  readonly body: Buffer;
}

export interface HubReply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}
