import { expose } from "comlink";
import type { TokenizerApi } from "../src/model/tokenizer/tokenizer-api.ts";
import { invariant } from "../src/errors.ts";
import { type LoadedTokenizer, loadTokenizer } from "../src/model/tokenizer/tokenizer.ts";

let loaded: LoadedTokenizer | null = null;

function tokenizer(): LoadedTokenizer {
  invariant(loaded, "a tokenizer is loaded before it is used");
  return loaded;
}

const api: TokenizerApi = {
  load(files) {
    loaded = loadTokenizer(files);
    return { hasChatTemplate: loaded.hasChatTemplate };
  },
  encode: (text) => tokenizer().encode(text),
  encodeChat: (...given) => tokenizer().encodeChat(...given),
  decode: (...given) => tokenizer().decode(...given),
};

expose(api);
