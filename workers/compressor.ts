import { expose } from "comlink";
import { createCompressor } from "../src/pipeline/create-compressor.ts";

expose(createCompressor());
