// The page: starts the two workers, gives them a line to each other, and shows the interface over them.

import "./disposal.ts";
import { proxy, type Remote, transfer, wrap } from "comlink";
import { render } from "preact";
// oxlint-disable import/default -- Vite makes the default export.
import compressorUrl from "../workers/compressor.ts?worker&url";
import evaluatorUrl from "../workers/evaluator.ts?worker&url";
import publisherUrl from "../workers/publisher.ts?worker&url";
import sourceUrl from "../workers/source.ts?worker&url";
// oxlint-enable import/default
import { createDownload, type Pickers } from "./download/create-download.ts";
import type { CompressorApi } from "./api/compressor-api.ts";
import type { EvaluatorApi } from "./api/evaluator-api.ts";
import type { PublisherApi } from "./api/publisher-api.ts";
import { App } from "./ui/app.tsx";
import { browserPlatform } from "./ui/actions/browser-platform.ts";
import { createApp, followTitle, wakeApp } from "./ui/actions/create-app.ts";
import { createScriptDoor } from "./ui/actions/create-script-door.ts";
import { describeFailure } from "./ui/state/describe-failure.ts";
import { openMeasurementStore } from "./ui/state/measurements/measurement-store.ts";
import type { Services } from "./ui/state/services.ts";
import { startWorker } from "./start-worker.ts";
import { type InstalledPage, installPage } from "./install-page.ts";
import type { SourceApi } from "./api/source-api.ts";

let tellBroken: (error: Error) => void = () => undefined;
/** Rejects if a worker's script cannot be run: calls to it wait for ever. */
const broken = new Promise<never>((_, reject) => (tellBroken = reject));

/** A worker's answer, or that no worker will give one. */
const answered = async <T,>(work: Promise<T>): Promise<T> => await Promise.race([work, broken]);

/** Errors inside calls come back through those calls; an error of the worker says that the script itself could not be run. */
function startWatched(scriptUrl: string, name: string): Worker {
  const worker = startWorker(scriptUrl, document.baseURI, name);
  worker.addEventListener("error", ({ message }) => {
    tellBroken(new Error(message || "A part of this page could not be loaded. Reload it while online."));
  });
  return worker;
}

function startWorkers() {
  const compressorWorker = startWatched(compressorUrl, "compressor");
  const sourceWorker = startWatched(sourceUrl, "source");
  const compressor = wrap<CompressorApi>(compressorWorker);
  const source = wrap<SourceApi>(sourceWorker);
  const line = new MessageChannel();
  void source.connect(transfer(line.port1, [line.port1]));
  void compressor.connect(transfer(line.port2, [line.port2]));
  return { compressor, source };
}

/** Evaluation and its engine are fetched when something is evaluated, not before. */
function lazyEvaluator(): Services["evaluator"] {
  let started: Remote<EvaluatorApi> | null = null;
  const worker = () => (started ??= wrap<EvaluatorApi>(startWatched(evaluatorUrl, "evaluator")));
  return {
    open: (role, reference, token) => answered(worker().open(role, reference, token)),
    close: (role) => worker().close(role),
    prepare: (engine) => worker().prepare(engine),
    release: async () => await started?.release(),
    measure: (options, onProgress) => answered(worker().measure(options, proxy(onProgress))),
    generate: (role, options, onUpdate) => answered(worker().generate(role, options, proxy(onUpdate))),
    stop: () => worker().stop(),
  };
}

/** Fetched, with the Hub's library, when somebody publishes. */
function lazyPublisher(): Services["publisher"] {
  let started: Remote<PublisherApi> | null = null;
  const worker = () => (started ??= wrap<PublisherApi>(startWatched(publisherUrl, "publisher")));
  return {
    signIn: (hubUrl, token) => worker().signIn(hubUrl, token),
    beginLogin: (login) => worker().beginLogin(login),
    endLogin: (login) => worker().endLogin(login),
    license: (jobId) => worker().license(jobId),
    publish: (request, onProgress) => worker().publish(request, proxy(onProgress)),
    stop: () => worker().stop(),
  };
}

/** Who serves the page may name another Hub, and the page's application there, in its head. */
function hubSettings(): Services["hub"] {
  const named = (name: string) => document.querySelector<HTMLMetaElement>(`meta[name="${name}"]`)?.content;
  const space = globalThis as { readonly huggingface?: { readonly variables?: Record<string, string> } };
  return {
    url: named("layerpress:hub") || "https://huggingface.co",
    clientId: named("layerpress:oauth-client") || (space.huggingface?.variables?.["OAUTH_CLIENT_ID"] ?? null),
  };
}

let installed: InstalledPage | null = null;
const { compressor, source } = startWorkers();
const download = createDownload(window as Pickers);
const services: Services = {
  compressor: {
    probe: () => compressor.probe(),
    inspect: (reference, token) => answered(compressor.inspect(reference, token)),
    plan: (options) => compressor.plan(options),
    presets: () => compressor.presets(),
    start: (options, onProgress) => compressor.start(options, proxy(onProgress)),
    survey: (options, onProgress) => compressor.survey(options, proxy(onProgress)),
    mixedRecipe: (bytes) => compressor.mixedRecipe(bytes),
    moduleReports: (since) => compressor.moduleReports(since),
    pause: () => compressor.pause(),
    resume: () => compressor.resume(),
    cancel: () => compressor.cancel(),
    jobs: () => compressor.jobs(),
    result: (jobId) => compressor.result(jobId),
    makeReceipt: (jobId, onBytes, known) => compressor.makeReceipt(jobId, proxy(onBytes), known),
    deleteJob: (jobId) => compressor.deleteJob(jobId),
  },
  source: {
    stored: () => source.stored(),
    deleteStored: (key) => source.deleteStored(key),
    progress: () => source.progress(),
  },
  evaluator: lazyEvaluator(),
  publisher: lazyPublisher(),
  hub: hubSettings(),
  measurements: openMeasurementStore(),
  download,
  platform: browserPlatform(async () => (await installed?.takeUpdate()) ?? false),
};

const app = createApp(services, document.URL);
followTitle(app, (title) => (document.title = title));
broken.catch((error: unknown) => {
  app.state.failure.value = { ...describeFailure(error, "starting"), retry: null };
});
const root = document.querySelector("#app");
// Scripts may ask for a page that draws nothing: where no font is installed, drawing text ends Chromium.
const shown = new URLSearchParams(location.search).get("shown") !== "no";
document.body.hidden = !shown;
if (root) {
  root.replaceChildren();
  render(<App app={app} />, root);
}
globalThis.layerpress = createScriptDoor(app, broken);
globalThis.layerpressEvaluator = services.evaluator;
void wakeApp(app);
void download.tidyUp();
// What runs from sources changes under way, and a command takes the build that is there.
if (shown && import.meta.env.PROD)
  addEventListener("load", () => {
    installed = installPage(() => (app.state.updateReady.value = true));
  });
