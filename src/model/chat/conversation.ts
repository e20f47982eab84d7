// A conversation as chat templates take it: transformers' messages and tools.

/** One piece of a message whose content comes in parts. */
export interface ContentPart {
  readonly type: string;
  readonly text?: string;
}

/** Fields beyond these (tool_calls, tool_call_id, name, reasoning_content) go to the template as they are. */
export interface ChatMessage {
  readonly role: string;
  /** Null beside tool calls, or not there, which templates may tell apart. */
  readonly content?: string | null | readonly ContentPart[];
  readonly [field: string]: unknown;
}

export interface Conversation {
  readonly messages: readonly ChatMessage[];
  /** JSON schemas of the functions that the model may call; null is none. */
  readonly tools: readonly object[] | null;
}

/** The texts of a message's parts, in a line each, as servers join them for templates that take plain text. */
export function joinParts(parts: readonly ContentPart[]): string {
  return parts.map(({ text }) => text ?? "").join("\n");
}
