import "../src/disposal.ts";
import { expose } from "comlink";
import { createEvaluator } from "../src/pipeline/evaluation/create-evaluator.ts";
import { createSource } from "../src/source/create-source.ts";
import { fetchedInThreads } from "./fetched-in-threads.ts";

const fetched = fetchedInThreads(import.meta.url);
expose(createEvaluator(() => createSource(fetched)));
