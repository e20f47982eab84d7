// A model's tokenizer as the stages use it: every call may take its time, and ends.

import type { Conversation } from "../chat/conversation.ts";

export interface ModelTokenizer {
  /**
   * Ids of a text, with the special tokens that the tokenizer's post-processor adds.
   * @param where what the text is called in sentences ("a.jsonl, line 3")
   * @throws CalibrationError if the tokenizer fails, or does not come to an end
   */
  encode(text: string, where?: string): Promise<Uint32Array<ArrayBuffer>>;
  /**
   * Ids of a conversation through the chat template, which writes its own special tokens.
   * @throws CalibrationError if there is no template, it refuses the conversation, or does not come to an end
   */
  encodeChat(
    conversation: Conversation,
    addGenerationPrompt: boolean,
    where?: string,
  ): Promise<Uint32Array<ArrayBuffer>>;
  decode(ids: Uint32Array, skipSpecialTokens?: boolean): Promise<string>;
  readonly hasChatTemplate: boolean;
}
