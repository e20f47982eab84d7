import { type ComponentChildren, Fragment } from "preact";
import { formatBytes } from "../../formats/text/format-bytes.ts";
import { BITS_NAME } from "../words/bits-text.ts";
import { capitalize } from "../words/capitalize.ts";
import type { QuantizationSummary, TensorGroup } from "../../api/compressor-api.ts";

/** How a model is quantized that the user pointed at: its modules by scheme, what they cost, and what was kept. */
export function QuantizationPanel({ quantization }: { quantization: QuantizationSummary }) {
  const { modules, kept, bitsPerWeight, totalBitsPerWeight, kvCache, schemes, method } = quantization;
  const facts = [
    ["Schemes", schemes.length > 0 ? schemes.join(", ") : "none"],
    [capitalize(BITS_NAME), bitsPerWeight.toFixed(2)],
    ["Bits per weight in all", totalBitsPerWeight.toFixed(2)],
    ["Key-value cache", kvCache ?? "not quantized"],
    [`As ${quantization.dequantizedDtype}`, formatBytes(quantization.dequantizedBytes)],
  ] as const;
  return (
    <section class="panel quantization" aria-labelledby="quantization-heading">
      <div class="head-line">
        <h2 id="quantization-heading">Quantized already</h2>
        <span class="quiet">{method}</span>
      </div>
      <dl class="facts">
        {facts.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      {modules.length > 0 && <Groups of="Modules" groups={modules} />}
      {kept.length > 0 && (
        <details>
          <summary>
            Kept as it was <span class="quiet">{keptText(kept)}</span>
          </summary>
          <Groups of="Tensors" groups={kept} />
        </details>
      )}
    </section>
  );
}

function keptText(kept: readonly TensorGroup[]): string {
  const count = kept.reduce((sum, group) => sum + group.count, 0);
  const bytes = kept.reduce((sum, group) => sum + group.bytes, 0);
  return `${count} ${count === 1 ? "tensor" : "tensors"}, ${formatBytes(bytes)}`;
}

function Groups({ of, groups }: { of: "Modules" | "Tensors"; groups: readonly TensorGroup[] }) {
  return (
    <table class="figures tensor-groups">
      <thead>
        <tr>
          <th scope="col">{of}</th>
          <th scope="col">Bits per weight</th>
          <th scope="col">Size</th>
        </tr>
      </thead>
      <tbody>
        {groups.map((group) => (
          <Group key={`${group.name} ${group.scheme} ${group.detail}`} group={group} />
        ))}
      </tbody>
    </table>
  );
}

/** A long name breaks behind its dots before it breaks elsewhere. */
function breakable(name: string): ComponentChildren {
  return name.split(/(?<=\.)/).map((part, index) => (
    <Fragment key={`${index} ${part}`}>
      {index > 0 && <wbr />}
      {part}
    </Fragment>
  ));
}

function Group({ group: { name, count, scheme, detail, weights, bytes } }: { group: TensorGroup }) {
  return (
    <tr>
      {/* The rule does not look for text this deep. */}
      {/* oxlint-disable-next-line jsx-a11y/control-has-associated-label */}
      <th scope="row">
        <div>
          <code>{breakable(name)}</code>
          <span>
            {count > 1 && <>{count} × </>}
            <strong>{scheme}</strong>
            {detail !== "" && <> {detail}</>}
          </span>
        </div>
      </th>
      <td>{weights > 0 ? ((bytes * 8) / weights).toFixed(2) : "–"}</td>
      <td>{formatBytes(bytes)}</td>
    </tr>
  );
}
