import type { Progress } from "../../api/compressor-api.ts";
import { formatPercent } from "../words/format-count.ts";
import { formatDuration } from "../words/format-duration.ts";

export type Screen = "choose" | "plan" | "run" | "done";

export interface TitleFacts {
  readonly screen: Screen;
  readonly modelName: string | null;
  readonly progress: Progress | null;
  readonly failed: boolean;
}

/** Share of the job's bytes that are done, from 0 to 1. */
export function doneShare(progress: Progress): number {
  return progress.bytesTotal > 0 ? Math.min(1, progress.bytesDone / progress.bytesTotal) : 0;
}

/** The tab's title, the most telling words first, because tabs are narrow: "37 % · 4 min · Layerpress". */
export function titleText(facts: TitleFacts): string {
  return [...titleParts(facts), "Layerpress"].join(" · ");
}

function titleParts({ screen, modelName, progress, failed }: TitleFacts): string[] {
  if (screen === "run") return progress ? runParts(progress) : ["Starting"];
  const name = modelName === null ? [] : [modelName];
  if (failed) return ["Stopped", ...name];
  return screen === "done" ? ["Done", ...name] : name;
}

function runParts(progress: Progress): string[] {
  const share = formatPercent(doneShare(progress));
  if (progress.paused) return ["Paused", share];
  return [share, formatDuration(progress.secondsLeft)];
}
