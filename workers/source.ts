import "../src/disposal.ts";
import { createSource } from "../src/source/create-source.ts";
import { exposeSource } from "../src/source/expose-source.ts";

// The page's folder is the one above this script's, in the build (assets/) as in the sources (workers/).
const script = import.meta.url;
exposeSource(createSource({ base: new URL("..", script).href }));
