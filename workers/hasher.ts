import { expose } from "comlink";
import { hashFile, type HasherApi } from "../src/pipeline/result/hash-file.ts";

const api: HasherApi = { hash: hashFile };

expose(api);
