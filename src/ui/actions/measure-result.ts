import type { EvaluationProgress, QualityReport } from "../../api/evaluator-api.ts";
import type { App } from "../state/app-state.ts";
import { nameRecipe } from "../state/measurements/compare-recipes.ts";
import type { MeasuredRecipe } from "../state/measurements/measurement-store.ts";
import { refreshStored } from "./stored-things.ts";
import { budget, openModel, work } from "./try-prompt.ts";

/** Measures perplexity and divergence of what is tried, and keeps what was measured. */
export async function measureResult(app: App): Promise<void> {
  const { state, services } = app;
  const { trial } = state;
  await work(app, "Reading the model …", async () => {
    if (!(await openModel(app, "model"))) return;
    if (!(await openModel(app, "original"))) await services.evaluator.close("original");
    if (trial.stopping.peek()) return;
    const file = trial.text.peek();
    trial.busy.value = "Measuring …";
    const onProgress = services.platform.newestPerFrame(
      (progress: EvaluationProgress) => (trial.progress.value = progress),
    );
    const options = {
      text: file ? { kind: "file" as const, file } : { kind: "own" as const },
      max_seq_length: 512,
      maxWindows: null,
      provider: "auto" as const,
      gpuBudgetBytes: budget(app),
    };
    const measured = await describe(app, await services.evaluator.measure(options, onProgress));
    trial.measured.value = measured;
    await rememberSizes(app, measured.jobId);
    await services.measurements.keep(measured);
    await refreshStored(app);
  });
}

async function describe({ state, services }: App, report: QualityReport): Promise<MeasuredRecipe> {
  const result = state.result.peek();
  const job = result && (await services.compressor.jobs()).find(({ jobId }) => jobId === result.jobId);
  return {
    jobId: result?.jobId ?? report.model.label,
    model: report.original?.label ?? job?.label ?? report.model.label,
    recipe: job ? nameRecipe(job, report) : report.model.label,
    seconds: result?.seconds["total"] ?? null,
    measuredAt: Date.now(),
    report,
  };
}

/** The report is in two of the result's files now, so that they are larger than when the job was done. */
async function rememberSizes({ state, services }: App, jobId: string): Promise<void> {
  if (state.result.peek()?.jobId !== jobId) return;
  const result = await services.compressor.result(jobId);
  if (state.result.peek()?.jobId === jobId) state.result.value = result;
}
