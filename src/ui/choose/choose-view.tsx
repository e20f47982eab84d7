import type { StoredJob } from "../../api/compressor-api.ts";
import { useApp } from "../parts/app-context.ts";
import { DropZone } from "./drop-zone.tsx";
import { FailurePanel } from "../parts/failure.tsx";
import { LockIcon, WarningIcon } from "../parts/icons.tsx";
import { goOn } from "../actions/inspect-model.ts";
import { SourceForm } from "./source-form.tsx";
import { deleteStored } from "../actions/stored-things.ts";
import { TryQuantized } from "../try/try-quantized.tsx";

export function ChooseView() {
  return (
    <div class="choose">
      <section class="hero">
        <h1 id="state-heading" tabIndex={-1}>
          Compress a large language model in this tab, one layer at a time.
        </h1>
        <p class="lead">
          Point at a model and pick a recipe. Layerpress quantizes it on your GPU and hands you safetensors
          that vLLM and transformers load.
        </p>
        <p class="claim">
          <LockIcon />
          Your model and text never leave this machine; requests go only to the host you name.
        </p>
      </section>
      <FailurePanel />
      <TryQuantized />
      <section class="source panel" aria-label="Choose a model">
        <SourceForm />
        <DropZone />
      </section>
      <Found />
      <HowItWorks />
    </div>
  );
}

/** What the page finds a moment after it shows: behind what can be clicked by then, so that nothing moves under the pointer. */
function Found() {
  const { adapter, adapterProblem } = useApp().state;
  if (adapter.value === null && adapterProblem.value === null) return null;
  return (
    <>
      <GpuProblem />
      <UnfinishedJobs />
    </>
  );
}

/** What is wrong with WebGPU here, if anything. */
function GpuProblem() {
  const { state } = useApp();
  const missing = state.adapterProblem.value;
  const problem = missing ?? softwareProblem(state.adapter.value?.software ?? false);
  if (problem === null) return null;
  return (
    <section class="caution">
      <WarningIcon />
      <div>
        <h2>{missing === null ? "No GPU, only software" : "No GPU to work with"}</h2>
        <p>{problem}</p>
        {missing !== null && <p>You can still inspect a model, and see what compressing it would take.</p>}
      </div>
    </section>
  );
}

function softwareProblem(software: boolean): string | null {
  return software
    ? "This browser offers a software adapter instead of a GPU. It is about a thousand times slower: good enough for the sample model, not for a real one. Rounding to nearest gives the same bytes everywhere; GPTQ may choose a few codes differently, as it may between two GPUs."
    : null;
}

function UnfinishedJobs() {
  const { state } = useApp();
  const unfinished = state.stored.value?.jobs.filter((job) => !job.done) ?? [];
  if (unfinished.length === 0) return null;
  return (
    <section class="unfinished panel" aria-labelledby="unfinished-heading">
      <h2 id="unfinished-heading">Unfinished</h2>
      <ul class="rows">
        {unfinished.map((job) => (
          <UnfinishedJob key={job.jobId} job={job} />
        ))}
      </ul>
    </section>
  );
}

function UnfinishedJob({ job }: { job: StoredJob }) {
  const app = useApp();
  const { state, services } = app;
  const waiting = state.awaitingSource.value?.jobId === job.jobId;
  const remove = async () => await services.compressor.deleteJob(job.jobId);
  return (
    <li>
      <div class="row-text">
        <strong>{job.label}</strong>
        <span class="quiet">
          {job.scheme} · {job.finishedSteps} of {job.steps} steps finished
        </span>
        <output>
          {waiting &&
            (job.address === null
              ? "Drop the same files on this page again to go on."
              : "The part of the address after “?” was not kept, since it may hold a secret. Give the whole address again to go on.")}
        </output>
      </div>
      <div class="buttons">
        <button type="button" onClick={() => void goOn(app, job)}>
          Go on<span class="unseen"> with {job.label}</span>
        </button>
        <button type="button" class="plain" onClick={() => void deleteStored(app, remove)}>
          Delete<span class="unseen"> {job.label}</span>
        </button>
      </div>
    </li>
  );
}

const STEPS = [
  {
    title: "Look first",
    text: "Only config.json and the tensor headers are read. You see what the job needs, and whether this machine has it, before anything large is downloaded.",
  },
  {
    title: "One layer at a time",
    text: "A layer is fetched, quantized on the GPU, written to this browser’s disk, and forgotten. Neither the GPU nor the machine has to hold the model.",
  },
  {
    title: "Nothing is lost",
    text: "Every finished layer is kept. Close the tab, lose the network or the GPU, and the job goes on from there, to the same bytes.",
  },
] as const;

function HowItWorks() {
  return (
    <section class="how" aria-label="How it works">
      {STEPS.map(({ title, text }) => (
        <div key={title}>
          <h2>{title}</h2>
          <p>{text}</p>
        </div>
      ))}
    </section>
  );
}
