import "../src/disposal.ts";
import { serveFetches } from "../src/source/http/serve-fetches.ts";

serveFetches();
