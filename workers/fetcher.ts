import "../src/disposal.ts";
import { serveFetches } from "../src/source/serve-fetches.ts";

serveFetches();
