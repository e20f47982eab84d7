// The evaluating worker's side of the contract: up to two open models, one call at a time, nothing held between calls but an
// engine that was asked for ahead.

import { firstCause, invariant, LayerpressError } from "../../errors.ts";
import type { EvaluatedReference, EvaluatorApi, QualityReport } from "../../api/evaluator-api.ts";
import { createEngineOpener } from "./engine-opener.ts";
import { engineOptions } from "./engine-options.ts";
import { generateText } from "./generate-text.ts";
import { measureModels } from "./measure-models.ts";
import { type OpenStoredModel, openStoredModel } from "./open-stored-model.ts";
import { recordQuality } from "../result/record-quality.ts";
import type { SourceApi } from "../../api/source-api.ts";
import { endedBy } from "../../ended-by.ts";

type Role = "model" | "original";

interface Opened {
  readonly model: OpenStoredModel;
  readonly reference: EvaluatedReference;
  /** Chunks were stored before: a job may want them. */
  readonly kept: boolean;
}

/** @param createSource makes the source of one model; the two are read side by side */
export function createEvaluator(createSource: () => SourceApi): EvaluatorApi {
  const sources = new Map<Role, SourceApi>();
  const opened = new Map<Role, Opened>();
  const engines = createEngineOpener();
  let running = new AbortController();
  const start = () => (running = new AbortController()).signal;
  const find = (role: Role) => {
    const found = opened.get(role);
    invariant(found, `the ${role} is open`);
    return found;
  };
  const shut = (role: Role) => {
    opened.get(role)?.model.tokenizer?.[Symbol.dispose]();
    opened.delete(role);
  };
  return {
    async open(role, reference, token) {
      const source = sources.get(role) ?? createSource();
      sources.set(role, source);
      shut(role);
      const model = await openStoredModel(source, reference, token);
      opened.set(role, { model, reference, kept: source.progress().storedBytes > 0 });
      return model.summary;
    },
    close: shut,
    prepare(options) {
      engines.prepare(engineOptions(options));
    },
    release: () => engines.close(),
    async measure(options, onProgress) {
      const { model, reference } = find("model");
      const original = opened.get("original")?.model ?? null;
      return await tidied(opened.values(), async () => {
        const report = await measureModels({ model, original, options, signal: start(), onProgress });
        return reference.kind === "job" ? await recorded(reference.jobId, report) : report;
      });
    },
    async generate(role, options, onUpdate) {
      const { model } = find(role);
      const run = async () => await generateText({ engines, model, options, signal: start(), onUpdate });
      return await tidied(opened.values(), run);
    },
    stop: () => running.abort(),
  };
}

/**
 * What comes of a call, behind which it is tidied up.
 * @throws what failed first: of an error nothing but its name and its sentence reaches the page
 */
async function tidied<Result>(opened: Iterable<Opened>, run: () => Promise<Result>): Promise<Result> {
  const told = async () =>
    await run().catch((error: unknown) => {
      throw firstCause(error);
    });
  return await endedBy(told, async () => await tidy(opened));
}

/** What was downloaded for a call is not left behind, unless the browser keeps it: no reason to lose what was found out. */
async function tidy(opened: Iterable<Opened>): Promise<void> {
  for (const { model, kept } of opened) {
    const { source, summary } = model;
    const isRemote = summary.source.host !== null;
    if (isRemote && !kept) await source.deleteStored(summary.source.key).catch(() => undefined);
    source.release();
  }
}

/** The report once it is part of the result; a result that cannot be written keeps nothing from being shown. */
async function recorded(jobId: string, report: QualityReport): Promise<QualityReport> {
  try {
    await recordQuality(jobId, report);
    return { ...report, recorded: true };
  } catch (error) {
    if (!(error instanceof LayerpressError)) throw error;
    const note = `These figures are not in the result’s own report: ${error.message}`;
    return { ...report, notes: [...report.notes, note] };
  }
}
