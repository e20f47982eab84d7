import "../src/disposal.ts";
import { expose } from "comlink";
import { createPublisher } from "../src/pipeline/publication/create-publisher.ts";

expose(createPublisher());
