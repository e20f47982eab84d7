"""python open_in_vllm.py NAME=RESULT…: one JSON line for each result, with what vLLM's CPU build does with it."""

import json
import os
import sys
from pathlib import Path

os.environ.update(
    VLLM_CPU_KVCACHE_SPACE="1", VLLM_TARGET_DEVICE="cpu", HF_HUB_OFFLINE="1", VLLM_NO_USAGE_STATS="1",
    VLLM_ENABLE_V1_MULTIPROCESSING="0", VLLM_LOGGING_LEVEL="ERROR", VLLM_CPU_OMP_THREADS_BIND="nobind",
)  # fmt: skip
import vllm.model_executor.layers.quantization.compressed_tensors.compressed_tensors  # noqa: F401  once, for all forks
from hold_in_vllm import hold

# What vLLM says of a result that it takes, but has no kernel for on a processor.
NO_KERNEL = ("kernel", "backend", "not supported", "has no attribute", "not implemented", "only supported")


def generate(path):
    from vllm import LLM, SamplingParams

    model = LLM(model=path, dtype="bfloat16", enforce_eager=True, max_model_len=64, max_num_seqs=1, skip_tokenizer_init=True)
    sampling = SamplingParams(temperature=0, max_tokens=4, ignore_eos=True, detokenize=False)
    tokens = model.generate([{"prompt_token_ids": list(range(3, 20))}], sampling, use_tqdm=False)[0].outputs[0].token_ids
    return {"verdict": "opens", "detail": f"tokens {list(tokens)}"}


def held(path):
    equal, wrong = hold(path)
    if wrong or equal == 0:
        return {"verdict": "wrong", "detail": f"{len(wrong)} expert tensors are not the folder's, as {wrong[:1]}; {equal} are"}
    return {"verdict": "holds", "detail": f"no kernel; {equal} expert tensors equal"}


def said(error):
    text = str(error).strip().split("\n")[0][:160]
    known = any(word in text.lower() for word in NO_KERNEL)
    return {"verdict": "no kernel" if known else "refused", "detail": f"{type(error).__name__}: {text}"}


def forked(work, path):
    """What some work gives, done in a process of its own: vLLM holds one model a process."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            row = work(path)
        except BaseException as error:
            row = said(error)
        os.write(writing, json.dumps(row).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return json.loads(text) if text else {"verdict": "refused", "detail": "the process ended"}


for name, path in (pair.split("=") for pair in sys.argv[1:]):
    row = forked(generate, path)
    if row["verdict"] == "no kernel" and "expert" in Path(path, "config.json").read_text():
        row = forked(held, path)
    print(json.dumps({"name": name, **row}), flush=True)
