import { expose, transfer } from "comlink";
import { createSpanRotator, type RotatorApi } from "../src/plan/rotation/rotate-span.ts";

const rotate = createSpanRotator();

const api: RotatorApi = {
  rotate(span) {
    const bytes = rotate(span);
    return transfer(bytes, [bytes.buffer]);
  },
};

expose(api);
