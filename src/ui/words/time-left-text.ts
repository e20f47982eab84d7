import type { Progress } from "../../api/compressor-api.ts";
import { formatDuration } from "./format-duration.ts";

/** What a job has left. None of it passes while the job is paused, which a bare "7 s left" would not say. */
export function timeLeftText({ paused, secondsLeft }: Pick<Progress, "paused" | "secondsLeft">): string {
  const left = `${formatDuration(secondsLeft)} left`;
  return paused ? `${left} once you resume` : left;
}
