import "../src/disposal.ts";
import { createSource } from "../src/source/create-source.ts";
import { exposeSource } from "../src/source/expose-source.ts";
import { fetchedInThreads } from "./fetched-in-threads.ts";

exposeSource(createSource(fetchedInThreads(import.meta.url)));
