import "../src/disposal.ts";
import { expose } from "comlink";
import { createCompressor } from "../src/pipeline/create-compressor.ts";

expose(createCompressor());
