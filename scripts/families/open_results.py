"""python open_results.py NAME=ORIGINAL=RESULT…: one JSON line for each, with what opening says, and LLM Compressor's modules by a
recipe of targets alone and by the result's."""

import copy
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
import torch.utils.data
from compressed_tensors.quantization import QuantizationScheme
from llmcompressor import oneshot
from llmcompressor.modifiers.quantization import QuantizationModifier
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

IDS = torch.arange(3, 40)[None]
# Towers of other modalities are the user's to ignore.
TOWERS = r"re:.*(vision|visual|audio|multi_modal|connector|embed_vision|mlp1).*"
# Files of Mixtral and its kin call the projections of experts otherwise than LLM Compressor's modules.
EXPERTS = {"w1": "gate_proj", "w3": "up_proj", "w2": "down_proj"}


def loader(path):
    config = AutoConfig.from_pretrained(path)
    return AutoModelForImageTextToText if hasattr(config, "vision_config") else AutoModelForCausalLM


def opened(path):
    model, info = loader(path).from_pretrained(path, dtype="auto", output_loading_info=True)
    with torch.no_grad():
        return {key: len(found) for key, found in info.items() if found}, model.eval()(input_ids=IDS).logits.float().flatten()


def plain(name):
    """A module's name without the prefixes that classes and checkpoints have otherwise, with experts under their commonest names."""
    name = re.sub(r"^((model|language_model|text_model|backbone)\.)+", "", name)
    expert = re.fullmatch(r"(layers\.\d+)\.\w+(\.experts\.\d+)\.(\w+)", name)
    return expert.expand(r"\1.mlp\2.") + EXPERTS.get(expert[3], expert[3]) if expert else name


def ours(path):
    with safetensors.safe_open(os.path.join(path, "model.safetensors"), "pt") as file:
        return {plain(key.removesuffix(".weight_packed")) for key in file.keys() if key.endswith(".weight_packed")}


def readable(model):
    """Has the configuration say what LLM Compressor 0.14 asks it for where the model's class asks it for something else."""
    experts = next((module for module in model.modules() if hasattr(module, "gate_up_proj")), None)
    if type(experts).__name__ == "Llama4TextExperts" and not hasattr(model.config, "text_config"):
        model.config.text_config = copy.deepcopy(model.config)
    elif hasattr(experts, "intermediate_dim") and hasattr(model.config, "moe_intermediate_size"):
        model.config.moe_intermediate_size = experts.intermediate_dim
    return model


def theirs(path, **how):
    """What oneshot quantizes of a checkpoint."""
    model = readable(loader(path).from_pretrained(path, dtype="auto"))
    oneshot(model=model, **how)
    scheme = lambda module: isinstance(getattr(module, "quantization_scheme", None), QuantizationScheme)
    return {plain(name) for name, module in model.named_modules() if scheme(module)}


def bare():
    ignore = ["re:.*lm_head", "re:.*embed_out", TOWERS]
    return {"recipe": QuantizationModifier(targets=["Linear"], scheme="W8A8", ignore=ignore)}


def carried(result):
    """The result's own recipe, on a few tokens; nothing needs a processor, which oneshot asks for."""
    text = torch.utils.data.DataLoader([{"input_ids": IDS[0], "attention_mask": torch.ones_like(IDS[0])}])
    return {"recipe": os.path.join(result, "recipe.yaml"), "dataset": text, "pipeline": "basic", "processor": object()}


def difference(original, result, how):
    try:
        mine, other = ours(result), theirs(original, **how)
    except Exception as error:
        return sentence(error)
    return "; ".join(told(names, word) for names, word in ((other - mine, "more"), (mine - other, "fewer")) if names) or "equal"


def told(names, word):
    """How many, and what they are called, whatever their layer."""
    return f"{len(names)} {word}: {', '.join(sorted({re.sub(r'[0-9]+', '*', name) for name in names})[:4])}"


def sentence(error):
    first = next(iter(str(error).strip().splitlines()), "")
    return f"{type(error).__name__}: {first[:90]}"


for name, original, result in (triple.split("=") for triple in sys.argv[1:]):
    row = {"name": name, "complaints": -1, "detail": "", "set": "", "replayed": ""}
    try:
        _, expected = opened(original)
        complaints, logits = opened(result)
        cosine = torch.nn.functional.cosine_similarity(expected, logits, dim=0).item()
        row["complaints"] = sum(complaints.values())
        row["detail"] = f"cosine {cosine:.3f} {complaints or ''}".strip()
    except Exception as error:
        row["detail"] = sentence(error)
    row["set"] = difference(original, result, bare())
    row["replayed"] = difference(original, result, carried(result))
    print(json.dumps(row), flush=True)
