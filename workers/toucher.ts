import { expose, transfer } from "comlink";
import { type ToucherApi, touchMemory } from "../src/pipeline/sequential/states/touch-memory.ts";

const api: ToucherApi = {
  touch(bytes) {
    const memory = touchMemory(bytes);
    return transfer(memory, [memory]);
  },
};

expose(api);
