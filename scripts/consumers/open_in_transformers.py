"""python open_in_transformers.py NAME=ORIGINAL=RESULT…: one JSON line for each result, with what loading says and its logits."""

import json
import logging
import os
import sys
import warnings

os.environ.update(TRANSFORMERS_VERBOSITY="error", TQDM_DISABLE="1", HF_HUB_OFFLINE="1")
warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)
import torch
from transformers import AutoModelForCausalLM

IDS = torch.arange(3, 40)[None]


def opened(path):
    model, info = AutoModelForCausalLM.from_pretrained(path, dtype="auto", output_loading_info=True)
    with torch.no_grad():
        return {key: len(found) for key, found in info.items() if found}, model.eval()(input_ids=IDS).logits.float().flatten()


for name, original, result in (pair.split("=") for pair in sys.argv[1:]):
    try:
        _, expected = opened(original)
        complaints, logits = opened(result)
        lost = complaints.get("missing_keys", 0) + complaints.get("mismatched_keys", 0)
        unread = complaints.get("unexpected_keys", 0)
        cosine = torch.nn.functional.cosine_similarity(expected, logits, dim=0).item()
        verdict = "wrong" if lost or not cosine > 0.5 else "unread" if unread else "opens"
        print(json.dumps({"name": name, "verdict": verdict, "detail": f"cosine {cosine:.3f} {complaints or ''}".strip()}), flush=True)
    except Exception as error:
        text = str(error).strip().split("\n")[0][:120]
        print(json.dumps({"name": name, "verdict": "refused", "detail": f"{type(error).__name__}: {text}"}), flush=True)
