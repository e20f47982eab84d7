import { CopyButton } from "../parts/copy-button.tsx";

/** How the saved folder is used, to copy. */
export function LoadExamples({ name }: { name: string }) {
  return (
    <section class="load" aria-labelledby="load-heading">
      <h2 id="load-heading">Load it</h2>
      <Example title="vLLM" code={`vllm serve ./${name}`} />
      <Example title="transformers" code={transformersExample(name)} />
    </section>
  );
}

function Example({ title, code }: { title: string; code: string }) {
  return (
    <figure class="example">
      <figcaption>
        {title}
        <CopyButton text={code} what={`the example for ${title}`} />
      </figcaption>
      <pre>
        <code>{code}</code>
      </pre>
    </figure>
  );
}

function transformersExample(name: string): string {
  return [
    "# pip install transformers compressed-tensors accelerate",
    "from transformers import AutoModelForCausalLM, AutoTokenizer",
    "",
    `model = AutoModelForCausalLM.from_pretrained("./${name}", device_map="auto")`,
    `tokenizer = AutoTokenizer.from_pretrained("./${name}")`,
  ].join("\n");
}
