// Drives the built page's evaluation. What it prints last, and its exit status, are a contract with those who script it.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import type { Page } from "playwright";
import { type ModelServer, startModelServer } from "../model-server/model-server.ts";
import { folderModel } from "../model-server/served-model.ts";
import { AccessError, printable } from "../../src/errors.ts";
import { formatBytes } from "../../src/formats/text/format-bytes.ts";
import type { ForwardCheck, Generation, QualityReport } from "../../src/api/evaluator-api.ts";
import type { Evaluator } from "../../src/api/across-threads.ts";
import { UsageError } from "./arguments/argument-readers.ts";
import {
  EVALUATE_USAGE,
  type EvaluateArguments,
  type EvaluatedSource,
  readEvaluateArguments,
} from "./arguments/evaluate-arguments.ts";
import { giveFile } from "./page/give-file.ts";
import { InterruptedError } from "./page/interruption.ts";
import { openPage } from "./page/open-page.ts";
import { inOwnNames, type ServedFolders } from "./page/own-names.ts";
import { pageError } from "./page/page-error.ts";
import { answerOf } from "./page/told.ts";
import { systemFailure } from "./system-failure.ts";
import { endedBy } from "../../src/ended-by.ts";

const USAGE_STATUS = 2;
const FAILURE_STATUS = 1;
const DEFAULT_BUDGET_BYTES = 4 * 1024 ** 3;

/** Runs `npm run evaluate`; resolves to the exit status: 0, 1 (it failed), 2 (the command line is wrong), 128 + N (signal N). */
export async function evaluateFromCommandLine(args: readonly string[]): Promise<number> {
  try {
    const parsed = readEvaluateArguments(args);
    if (!parsed) {
      console.log(EVALUATE_USAGE);
      return 0;
    }
    const { report, generation } = await evaluate(parsed);
    for (const line of reportLines(report, generation)) console.log(printable(line));
    if (parsed.json) console.log(JSON.stringify(succeeded(report, generation)));
    return 0;
  } catch (error) {
    const isUsage = error instanceof UsageError;
    const { name, message } = systemFailure(error);
    console.error(isUsage ? `${message}\n\n${EVALUATE_USAGE}` : message);
    if (args.includes("--json")) console.log(JSON.stringify({ ok: false, error: { name, message } }));
    if (error instanceof InterruptedError) return error.status;
    return isUsage ? USAGE_STATUS : FAILURE_STATUS;
  }
}

interface Evaluation {
  readonly report: QualityReport;
  readonly generation: Generation | null;
}

async function evaluate(args: EvaluateArguments): Promise<Evaluation> {
  const server = await serveFolders(args);
  const work = await mkdtemp(join(tmpdir(), "layerpress-evaluate-"));
  const run = async () => {
    await using page = await openPage(work);
    const { report, generation } = await page.during(runInPage(page.page, args, server));
    return { report: withIdleBudget(args, withOwnLabels(args, report)), generation };
  };
  return await endedBy(
    run,
    async () => await rm(work, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 }),
    server.close,
  );
}

/** Local folders are read over HTTP from this machine, as the page reads every other folder. */
async function serveFolders({ model, against }: EvaluateArguments): Promise<ModelServer> {
  const folders = Object.entries({ model, against }).filter(([, source]) => source?.kind === "folder");
  const models = await Promise.all(
    folders.map(async ([role, source]) => {
      const folder = source?.text ?? "";
      const files = await folderModel(folder);
      if (!files.has("config.json"))
        throw new AccessError(
          `There is no config.json in ${folder}. Name the folder that holds it beside the .safetensors files.`,
        );
      return [`folder/${role}`, { files }] as const;
    }),
  );
  return await startModelServer({ models: Object.fromEntries(models) });
}

function addressOf(server: ModelServer, role: "model" | "against", source: EvaluatedSource): string {
  return source.kind === "folder" ? `${server.filesUrl}/folder/${role}/` : source.text;
}

/** What the page is asked for. */
function pageRequest(args: EvaluateArguments, server: ModelServer) {
  const { maxSeqLength, windows, provider, prompt, tokens, chat, token } = args;
  const gpuBudgetBytes = args.gpuBudgetBytes ?? DEFAULT_BUDGET_BYTES;
  return {
    model: addressOf(server, "model", args.model),
    against: args.against && addressOf(server, "against", args.against),
    token,
    options: { max_seq_length: maxSeqLength, maxWindows: windows, provider, gpuBudgetBytes },
    prompt,
    generation: {
      chat,
      maxTokens: tokens,
      temperature: 0,
      top_p: 1,
      seed: 0,
      provider,
      gpuBudgetBytes,
    },
  };
}

async function runInPage(page: Page, args: EvaluateArguments, server: ModelServer): Promise<Evaluation> {
  const { text } = args;
  const request = pageRequest(args, server);
  const chosen = text === null ? null : await giveFile(page, text);
  const outcome = await page.evaluate(
    async ([asked, file]) =>
      await globalThis.layerpressTold(async (): Promise<Evaluation> => {
        const evaluator: Evaluator = globalThis.layerpressEvaluator;
        if (asked.prompt !== null) await evaluator.prepare(asked.generation);
        await evaluator.open("model", { kind: "address", address: asked.model }, asked.token);
        if (asked.against) {
          await evaluator.open("original", { kind: "address", address: asked.against }, asked.token);
        }
        const own = file ? { kind: "file" as const, file } : { kind: "own" as const };
        const report = await evaluator.measure({ text: own, ...asked.options }, () => undefined);
        const generation =
          asked.prompt === null
            ? null
            : await evaluator.generate(
                "model",
                { prompt: asked.prompt, ...asked.generation },
                () => undefined,
              );
        return { report, generation };
      }),
    [request, chosen] as const,
  );
  const { failure } = outcome;
  if (!failure) return answerOf(outcome);
  throw pageError({ ...failure, message: inOwnNames(failure.message, servedFolders(args, server)) });
}

function servedFolders({ model, against }: EvaluateArguments, { filesUrl }: ModelServer): ServedFolders {
  const named = Object.entries({ model, against }).flatMap(([role, source]) =>
    source?.kind === "folder" ? [[`folder/${role}`, source.text] as const] : [],
  );
  return { host: new URL(filesUrl).host, folders: new Map(named) };
}

/** Folders are called what they were called, not by the address that they were served from. */
function withOwnLabels(args: EvaluateArguments, report: QualityReport): QualityReport {
  const { model, original } = report;
  const label = (own: EvaluatedSource | null, known: string) =>
    own?.kind === "folder" ? basename(resolve(own.text)) : known;
  return {
    ...report,
    model: { ...model, label: label(args.model, model.label) },
    original: original && { ...original, label: label(args.against, original.label) },
  };
}

/** Says of a GPU budget that nothing was done for it: what computes is known only when it has been tried. */
export function withIdleBudget(
  { gpuBudgetBytes }: Pick<EvaluateArguments, "gpuBudgetBytes">,
  report: QualityReport,
): QualityReport {
  if (gpuBudgetBytes === null || report.provider === "webgpu") return report;
  const note = `--gpu-budget ${formatBytes(gpuBudgetBytes)} changed nothing: the browser offers no GPU here, and the processor computed.`;
  return { ...report, notes: [...report.notes, note] };
}

function phaseWords(phases: Readonly<Record<string, number>>): string {
  return Object.entries(phases)
    .map(([phase, seconds]) => `${phase} ${seconds.toFixed(1)} s`)
    .join(", ");
}

function reportLines(report: QualityReport, generation: Generation | null): string[] {
  const { model, original, kl, greedyAgreement } = report;
  return [
    `${report.tokens} tokens of ${report.text} in ${report.windows} windows. ${report.windowing}`,
    ...[model, ...(original ? [original] : [])].map(
      ({ label, perplexity, weightBytes, bitsPerWeight }) =>
        `${label}: perplexity ${perplexity.toFixed(4)}, ${formatBytes(weightBytes)}, ${bitsPerWeight.toFixed(2)} bits per weight in the layers`,
    ),
    ...(kl && greedyAgreement !== null
      ? [
          `KL divergence ${kl.mean.toExponential(3)} in the mean, ${kl.worst.toExponential(3)} at worst; ${(greedyAgreement * 100).toFixed(1)} % of greedy tokens equal`,
        ]
      : []),
    ...(report.check ? [checkLine(report.check)] : []),
    ...report.notes,
    `${report.seconds.toFixed(1)} s by ${report.forwardPass} on ${report.provider} (${phaseWords(report.phases)}), GPU peak ${formatBytes(report.peakGpuBytes)}`,
    ...(generation ? [generationLine(generation)] : []),
  ];
}

function checkLine({
  tokens,
  layers,
  layer,
  statesDifference,
  logits,
  logitsDifference,
}: ForwardCheck): string {
  return `Checked by onnxruntime-web in ${layers.length} layers (${layers.join(", ")}) on ${tokens} tokens: what they add differs by ${statesDifference.toExponential(1)} at most (${layer}), ${logits.ids} logits of ${logits.tokens} tokens by ${logitsDifference.toExponential(1)}`;
}

function generationLine(generation: Generation): string {
  const { text, tokensPerSecond, secondsToFirst, weights, captured } = generation;
  const phases = phaseWords(generation.phases);
  const how = `${weights}${captured ? ", commands recorded" : ""}`;
  return `${tokensPerSecond.toFixed(1)} tokens/s (${how}), the first after ${secondsToFirst.toFixed(1)} s (${phases}): ${text}`;
}

function succeeded(report: QualityReport, generation: Generation | null) {
  const { model, original, kl, greedyAgreement, tokens, ...rest } = report;
  return {
    ok: true,
    perplexity: model.perplexity,
    tokens,
    kl,
    greedyAgreement,
    originalPerplexity: original?.perplexity ?? null,
    bitsPerWeight: model.bitsPerWeight,
    weightBytes: model.weightBytes,
    generation,
    ...rest,
  };
}
