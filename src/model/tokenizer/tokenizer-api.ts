// What a tokenizer's worker says to the thread that started it.

import type { Conversation } from "../chat/conversation.ts";
import type { TokenizerFiles } from "./tokenizer.ts";

export interface TokenizerApi {
  /** Loads the tokenizer that all other calls are about. */
  load(files: TokenizerFiles): { readonly hasChatTemplate: boolean };
  encode(text: string): Uint32Array<ArrayBuffer>;
  encodeChat(
    conversation: Conversation,
    addGenerationPrompt: boolean,
    where: string,
  ): Uint32Array<ArrayBuffer>;
  decode(ids: Uint32Array, skipSpecialTokens: boolean): string;
}
