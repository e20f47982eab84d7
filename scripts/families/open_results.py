"""python open_results.py NAME=ORIGINAL=RESULT…: one JSON line for each, with what opening says and LLM Compressor's modules."""

import json
import logging
import os
import re
import sys
import warnings

os.environ.update(TRANSFORMERS_VERBOSITY="error", TQDM_DISABLE="1", HF_HUB_OFFLINE="1", LLM_COMPRESSOR_LOG_DISABLED="1")
warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)
import safetensors
import torch
from compressed_tensors.quantization import QuantizationScheme
from llmcompressor import oneshot
from llmcompressor.modifiers.quantization import QuantizationModifier
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

IDS = torch.arange(3, 40)[None]
# Towers of other modalities are the user's to ignore.
TOWERS = r"re:.*(vision|visual|audio|multi_modal|connector|embed_vision|mlp1).*"


def loader(path):
    config = AutoConfig.from_pretrained(path)
    return AutoModelForImageTextToText if hasattr(config, "vision_config") else AutoModelForCausalLM


def opened(path):
    model, info = loader(path).from_pretrained(path, dtype="auto", output_loading_info=True)
    with torch.no_grad():
        return {key: len(found) for key, found in info.items() if found}, model.eval()(input_ids=IDS).logits.float().flatten()


def plain(name):
    """A module's name without the prefixes that classes and checkpoints have otherwise, and under one name of its projections."""
    name = re.sub(r"^(model|language_model|text_model)\.", "", name)
    return plain(name) if re.match(r"(model|language_model|text_model)\.", name) else name


def ours(path):
    with safetensors.safe_open(os.path.join(path, "model.safetensors"), "pt") as file:
        return {plain(key.removesuffix(".weight_packed")) for key in file.keys() if key.endswith(".weight_packed")}


def theirs(path):
    model = loader(path).from_pretrained(path, dtype="auto")
    ignore = ["re:.*lm_head", "re:.*embed_out", TOWERS]
    oneshot(model=model, recipe=QuantizationModifier(targets=["Linear"], scheme="W8A8", ignore=ignore))
    scheme = lambda module: isinstance(getattr(module, "quantization_scheme", None), QuantizationScheme)
    return {plain(name) for name, module in model.named_modules() if scheme(module)}


def difference(original, result):
    try:
        mine, other = ours(result), theirs(original)
    except Exception as error:
        return f"ends with {type(error).__name__}"
    told = [f"{len(names)} {word}: {min(names)}" for word, names in (("more", other - mine), ("fewer", mine - other)) if names]
    return "; ".join(told) or "equal"


for name, original, result in (triple.split("=") for triple in sys.argv[1:]):
    row = {"name": name, "complaints": -1, "detail": "", "set": ""}
    try:
        _, expected = opened(original)
        complaints, logits = opened(result)
        cosine = torch.nn.functional.cosine_similarity(expected, logits, dim=0).item()
        row["complaints"] = sum(complaints.values())
        row["detail"] = f"cosine {cosine:.3f} {complaints or ''}".strip()
    except Exception as error:
        row["detail"] = f"{type(error).__name__}: {str(error).strip().splitlines()[0][:90]}"
    row["set"] = difference(original, result)
    print(json.dumps(row), flush=True)
