import type { Conversation } from "../../model/chat/conversation.ts";

/** One sample, and where it stands, for sentences about it: "chats.jsonl, line 3". */
export type Sample = SampleContent & { readonly where: string };

export type SampleContent =
  | { readonly kind: "text"; readonly text: string }
  | ({ readonly kind: "messages" } & Conversation)
  | { readonly kind: "ids"; readonly ids: readonly number[] };

export interface SampleSet {
  readonly samples: readonly Sample[];
  /** What the user should know of how the file was read, each a sentence. */
  readonly notes: readonly string[];
}

/** A calibration file is text of a few megabytes; a mistaken drop of a checkpoint must not be read whole. */
export const MAX_CALIBRATION_BYTES = 256 * 1024 ** 2;
