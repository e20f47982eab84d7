import { formatBytes } from "../../formats/text/format-bytes.ts";
import { openResult } from "../actions/open-result.ts";
import { useApp } from "../parts/app-context.ts";

/** All that the run made, side by side; each is shown, saved and tried alone. */
export function RunResults() {
  const app = useApp();
  const { results, result } = app.state;
  const shown = result.value?.jobId;
  if (results.value.length < 2 || !results.value.some(({ jobId }) => jobId === shown)) return null;
  return (
    <section aria-labelledby="results-heading">
      <h2 id="results-heading">Results of this run</h2>
      <table class="figures">
        <tbody>
          {results.value.map(({ jobId, name, resultBytes, bitsPerWeight }) => (
            <tr key={jobId}>
              <th scope="row">
                <button
                  type="button"
                  class="link"
                  aria-current={jobId === shown ? "true" : undefined}
                  onClick={() => void openResult(app, jobId)}
                >
                  {name}
                </button>
              </th>
              <td>
                <span class="quiet">{bitsPerWeight.toFixed(2)} bits </span>
                {formatBytes(resultBytes)}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
