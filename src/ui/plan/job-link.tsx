import { useApp } from "../parts/app-context.ts";
import { CopyButton } from "../parts/copy-button.tsx";
import { jobLink } from "../state/links/linked-job.ts";

/** The planned job as an address of this page, for somebody else; and what of it no address can say. */
export function JobLink() {
  const { state, pageUrl } = useApp();
  const [options, fit, reference] = [state.options.value, state.fit.value, state.reference.value];
  if (!options || !fit) return null;
  const address = reference?.kind === "address" ? reference.address : null;
  const calibrates = fit.calibration !== null;
  const link = jobLink(pageUrl, address, options, calibrates);
  const kind = calibrates ? options.calibration?.source.kind : null;
  const left = [
    ...(address === null ? ["the model’s files"] : []),
    ...(kind === "file" || kind === "stored" ? ["the calibration text"] : []),
  ];
  return (
    <p class="job-link hint">
      <CopyButton text={link ?? ""} label="Copy link" what="to this page with the job filled in" />
      {link === null
        ? "The recipe is too long for a link. Send it as a file."
        : `A link that fills in this job${left.length > 0 ? `, but for ${left.join(" and ")}` : ""}.`}
    </p>
  );
}
