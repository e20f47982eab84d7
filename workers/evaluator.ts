import "../src/disposal.ts";
import { expose } from "comlink";
import { createEvaluator } from "../src/pipeline/evaluation/create-evaluator.ts";
import { createSource } from "../src/source/create-source.ts";

// The page's folder is the one above this script's, in the build (assets/) as in the sources (workers/).
const script = import.meta.url;
expose(createEvaluator(() => createSource({ base: new URL("..", script).href })));
