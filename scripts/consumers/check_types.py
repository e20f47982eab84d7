"""Compresses a tiny model of every type in src/model/linear-table.json and opens the results in transformers.

usage: python check_types.py COMPRESSOR RESULTS SECONDS [TYPE…]   COMPRESSOR: src/testing/jobs/compress-folders.ts, bundled for Node

Writes a JSON line for each type into RESULTS, of which a second run leaves out what it finds there; ends after SECONDS. A line has
"class" and "parameters" of the model, or "unbuilt" (why it could not be made); then for each recipe "quantized" (modules) and what
loading said: lists of "missing", "unexpected" and "mismatched" keys, or "refused"; or "not_written", why there is no result.
"original" has the complaints about the model before it was compressed. Then prints how many results have which verdict, and all
that are not clean by name; exits with 1 if something is wrong that no note of the job speaks of.
"""

import itertools
import json
import logging
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / "scripts"))
os.environ.update(TRANSFORMERS_VERBOSITY="error", TQDM_DISABLE="1", HF_HUB_OFFLINE="1")
import torch
import tqdm
import transformers
import make_linear_table
from make_linear_table import OPEN_FIELDS, attempt, class_names, parts_of, shorten
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

logging.disable(logging.WARNING)
torch.set_num_threads(1)
tqdm.tqdm.monitor_interval = 0  # a thread, which a process that forks must not have
make_linear_table.LAYERS = 2
# Of the processor, and as much waiting as a busy machine makes of it.
SECONDS_EACH, SECONDS_WAITED = 60, 600
MOST_MEMORY = 6 << 30
MOST_PARAMETERS = 96_000_000
# Of widths, which all are divided by one number, so that they go on fitting together.
WIDTH = re.compile(r"hidden|intermediate|inner|embed|embd|d_model|d_ff|d_kv|ffn|dim|rank|width|d_head|_size$|proj_size|feat")
NO_WIDTH = re.compile(r"image|patch|kernel|vocab|window|chunk|stride|position|max_|layers|depth|heads|num_|query_dim|group|type|token|dropout|_act|codebook_size|block_size|input_size|ratio|factor|label")
# Of these types' own names for widths.
MORE_WIDTHS = {"d_latents", "num_filters", "upsample_initial_channel", "upsample_groups"}
DIVISORS = (64, 32, 16, 8, 4, 2, 1)
VOCABULARY = 1024
WEIGHTS = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "channel"}


def recipe(**quantization):
    return json.dumps({"quant_stage": {"quant_modifiers": {"QuantizationModifier": {"ignore": ["lm_head"], **quantization}}}})


# Neither needs columns that a group divides.
RECIPES = {
    "W8A8": recipe(targets=["Linear"], scheme="W8A8"),
    "packed": recipe(config_groups={"group_0": {"targets": ["Linear"], "weights": WEIGHTS}}),
}


def divided(value, divisor):
    """A width, or several, divided by as much of a power of two as leaves 2."""
    if isinstance(value, bool) or not isinstance(value, (int, list, tuple)):
        return value
    if isinstance(value, int):
        while divisor > 1 and (value % divisor or value // divisor < 2):
            divisor //= 2
        return value // divisor
    return type(value)(divided(one, divisor) for one in value)


def divisor_of(part, most):
    """The largest power of two that leaves heads of an even width."""
    widths = [vars(part).get(field) for field in ("hidden_size", "d_model", "n_embd", "embed_dim", "dim")]
    heads = [vars(part).get(field) for field in ("num_attention_heads", "num_heads", "n_head", "encoder_attention_heads", "attention_heads")]
    pairs = [(width, count) for width in widths for count in heads if isinstance(width, int) and isinstance(count, int) and count]
    while most > 1 and any(width % most or width // most % (2 * count) for width, count in pairs if width % (2 * count) == 0):
        most //= 2
    return most


def shrunken(kind, divisor, whole_heads, filled, small_vocabulary):
    config = shorten(CONFIG_MAPPING[kind]())
    for part in parts_of(config):
        own = divisor_of(part, divisor) if whole_heads else divisor
        for field, value in list(vars(part).items()):
            if field.startswith("_"):
                continue
            if filled and value is None and field in OPEN_FIELDS:
                attempt(part, field, OPEN_FIELDS[field])
            elif field in MORE_WIDTHS or (WIDTH.search(field) and not NO_WIDTH.search(field)):
                attempt(part, field, divided(value, own))
            elif field == "rope_parameters" and isinstance(value, dict) and "mrope_section" in value:
                attempt(part, field, {**value, "mrope_section": divided(value["mrope_section"], own)})
            elif small_vocabulary and field == "vocab_size" and isinstance(value, int) and value > VOCABULARY:
                attempt(part, field, VOCABULARY)
        if getattr(part, "stage_names", None) and isinstance(vars(part).get("num_hidden_layers"), int):
            attempt(part, "stage_names", ["stem", *(f"stage{index + 1}" for index in range(part.num_hidden_layers))])
            attempt(part, "out_features", part.stage_names[-1:])
        vocabulary = vars(part).get("vocab_size")
        if isinstance(vocabulary, int) and isinstance(vars(part).get("pad_token_id"), int) and part.pad_token_id >= vocabulary:
            attempt(part, "pad_token_id", 0)
    return config.from_dict(fitted(config.to_dict()))  # loading asks more of a configuration than making a model does


def fitted(value):
    """A configuration as JSON, with as many of each layer's own fields as there are layers."""
    if not isinstance(value, dict):
        return value
    value, layers = {key: fitted(own) for key, own in value.items()}, value.get("num_hidden_layers")
    if isinstance(layers, int) and value.get("per_layer_config"):
        value["per_layer_config"] = {index: own for index, own in value["per_layer_config"].items() if int(index) < layers}
    for field in ("intermediate_size", "activation_sparsity_pattern", "num_attention_heads_per_layer"):
        if isinstance(layers, int) and isinstance(value.get(field), (list, tuple)):
            value[field] = value[field][:layers]
    if "attention_types" in value:  # GPT-Neo's kinds, and how often they come
        value |= {"attention_types": [[["global", "local"], make_linear_table.LAYERS // 2]], "attention_layers": ["global", "local"]}
    return value


def build(kind, names, source):
    """A model, saved in a folder, with weights, as narrow as its classes let it be. @raises RuntimeError if that is too large, or with what is wrong with the widest"""
    reason = None
    for small_vocabulary, filled in ((True, False), (True, True), (False, False)):
        for divisor, whole_heads in itertools.product(DIVISORS, (False, True)):
            for name in names:
                make = lambda: getattr(transformers, name)(shrunken(kind, divisor, whole_heads, filled, small_vocabulary))
                try:
                    with torch.device("meta"):
                        size = sum(one.numel() for one in make().parameters())
                    if size <= MOST_PARAMETERS:
                        model = settle(make())
                        model.save_pretrained(source)
                        return model
                except Exception as error:
                    reason = f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
                else:
                    raise RuntimeError(f"{size} parameters at least" + (f"; narrower: {reason}" if reason else ""))
    raise RuntimeError(reason)


def settle(model):
    """In bfloat16, without what some classes leave uninitialised."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.is_floating_point() and weight.numel() and not (torch.isfinite(weight).all() and weight.abs().max() < 100):
                weight.normal_(0, 0.02, generator=generator)
    return model.to(torch.bfloat16)


def opened(name, path):
    """What loading a folder with a model's own class complains about."""
    try:
        _, info = getattr(transformers, name).from_pretrained(path, dtype="auto", output_loading_info=True)
        return {key.removesuffix("_keys"): sorted(map(str, found)) for key, found in info.items() if found and key.endswith("_keys")}
    except Exception as error:
        return {"refused": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"}


def check(kind, names, compressor, folder):
    source, out = folder / "source", folder / "out"
    try:
        model = build(kind, names, source)
    except RuntimeError as error:
        return {"unbuilt": str(error)}
    name, size = type(model).__name__, sum(one.numel() for one in model.parameters())
    row = {"class": name, "parameters": size}
    del model
    compressor.stdin.write(json.dumps({"source": str(source), "out": str(out), "recipes": RECIPES}) + "\n")
    compressor.stdin.flush()
    for recipe in RECIPES:
        made = json.loads(compressor.stdout.readline())
        row[recipe] = {"not_written": made["refused"]} if "refused" in made else {"quantized": made["quantized"], "notes": made["notes"], **opened(name, out / recipe)}
    if any(set(row[recipe]) - {"quantized", "notes"} for recipe in RECIPES):
        complaints = opened(name, source)
        row |= {"original": complaints} if complaints else {}
    return row


def verdict(row, recipe):
    """What came of a result: one word, and the reason where it is not "clean"."""
    if "unbuilt" in row:
        return "not built", row["unbuilt"]
    made = row[recipe]
    if "not_written" in made:
        return "refused by us", made["not_written"]
    complaints = {key: found for key, found in made.items() if key not in ("quantized", "notes")}
    if not complaints:
        return "clean", ""
    original = row.get("original", {})
    if complaints == original or {"refused", "missing"} & set(original):  # one that does not find its own weights finds no others
        return "as the original", shown(original)
    noted = any(note.startswith("transformers") for note in made["notes"])
    return ("noted" if noted else "wrong"), shown(complaints)


def shown(complaints):
    return "; ".join(found if key == "refused" else f"{len(found)} {key} ({found[0]}, …)" for key, found in complaints.items())


def report(rows):
    """Prints the verdicts. Returns True if nothing is wrong that no note speaks of."""
    right = True
    for recipe in RECIPES:
        found = {}
        for row in rows:
            word, reason = verdict(row, recipe)
            found.setdefault(word, []).append((row["type"], reason))
        print(f"{recipe}: {len(rows)} types; " + ", ".join(f"{len(ones)} {word}" for word, ones in sorted(found.items())))
        for word, ones in sorted(found.items()):
            for kind, reason in ones if word != "clean" else ():
                print(f"  {word}: {kind}: {reason}")
        right = right and "wrong" not in found
    return right


def start(compressor):
    return subprocess.Popen(["node", compressor], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def apart(task):
    """What a task returns in a process of its own: what a class asks of time and memory, and what it breaks, ends with it."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        signal.alarm(SECONDS_WAITED)  # each limit ends the process
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS_EACH, SECONDS_EACH + 5))
        resource.setrlimit(resource.RLIMIT_DATA, (MOST_MEMORY, MOST_MEMORY))
        try:
            row = task()
        except BaseException as error:
            row = {"unbuilt": f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"}
        with os.fdopen(writer, "w") as out:
            json.dump(row, out)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        text = answer.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        number = signal.Signals(os.WTERMSIG(status))
        limits = {signal.SIGXCPU: SECONDS_EACH, signal.SIGALRM: SECONDS_WAITED}
        return {"unbuilt": f"more than {limits[number]} s" if number in limits else f"ended by {number.name}"}
    return json.loads(text)


def main():
    compressor_path, results, seconds, *kinds = sys.argv[1:]
    table = json.loads((ROOT / "src/model/linear-table.json").read_text())
    kinds = kinds or sorted(kind for entry in table["entries"] for kind in entry["types"].split())
    done = {json.loads(line)["type"] for line in open(results)} if os.path.exists(results) else set()
    end, names = time.monotonic() + float(seconds), class_names()
    compressor = start(compressor_path)
    with tempfile.TemporaryDirectory(prefix="layerpress-type-") as folder:
        check("llama", names["llama"], compressor, Path(folder))  # what all types import is there before the first process
    with open(results, "a") as out:
        for kind in [kind for kind in kinds if kind not in done]:
            if time.monotonic() > end:
                break
            begin = time.monotonic()
            with tempfile.TemporaryDirectory(prefix="layerpress-type-", ignore_cleanup_errors=True) as folder:
                row = apart(lambda: check(kind, names[kind], compressor, Path(folder)))
            out.write(json.dumps({"type": kind, "seconds": round(time.monotonic() - begin, 1), **row}) + "\n")
            out.flush()
            if compressor.poll() is not None:
                sys.exit(f"The compressor ended by itself at {kind}.")
            if "W8A8" not in row:  # it may have begun with an answer
                compressor.kill()
                compressor = start(compressor_path)
    compressor.stdin.close()
    rows = [json.loads(line) for line in open(results)]
    sys.exit(0 if report([row for row in rows if row["type"] in kinds]) else 1)


if __name__ == "__main__":
    main()
