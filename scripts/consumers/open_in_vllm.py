"""python open_in_vllm.py NAME=RESULT…: one JSON line for each result, with what vLLM's CPU build does with it."""

import json
import os
import sys

os.environ.update(
    VLLM_CPU_KVCACHE_SPACE="1", VLLM_TARGET_DEVICE="cpu", HF_HUB_OFFLINE="1", VLLM_NO_USAGE_STATS="1",
    VLLM_ENABLE_V1_MULTIPROCESSING="0", VLLM_LOGGING_LEVEL="ERROR", VLLM_CPU_OMP_THREADS_BIND="nobind",
)  # fmt: skip
# What vLLM says of a result that it takes, but has no kernel for on a processor.
NO_KERNEL = ("kernel", "backend", "not supported", "has no attribute", "not implemented", "only supported")


def generate(path):
    from vllm import LLM, SamplingParams

    model = LLM(model=path, dtype="bfloat16", enforce_eager=True, max_model_len=64, max_num_seqs=1, skip_tokenizer_init=True)
    sampling = SamplingParams(temperature=0, max_tokens=4, ignore_eos=True, detokenize=False)
    return model.generate([{"prompt_token_ids": list(range(3, 20))}], sampling, use_tqdm=False)[0].outputs[0].token_ids


for name, path in (pair.split("=") for pair in sys.argv[1:]):
    child = os.fork()  # vLLM holds one model a process
    if child > 0:
        os.waitpid(child, 0)
        continue
    try:
        row = {"verdict": "opens", "detail": f"tokens {list(generate(path))}"}
    except BaseException as error:
        text = str(error).strip().split("\n")[0][:160]
        known = any(word in text.lower() for word in NO_KERNEL)
        row = {"verdict": "no kernel" if known else "refused", "detail": f"{type(error).__name__}: {text}"}
    print(json.dumps({"name": name, **row}), flush=True)
    os._exit(0)
