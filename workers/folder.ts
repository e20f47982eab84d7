import { expose, transfer } from "comlink";
import { type FolderApi, foldPiece } from "../src/formats/weights/fold.ts";

const api: FolderApi = {
  fold(piece) {
    const bytes = foldPiece(piece);
    return transfer(bytes, [bytes.buffer]);
  },
};

expose(api);
