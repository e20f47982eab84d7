"""Writes src/model/linear-table.json: which two-dimensional weights of transformers' models belong to nn.Linear.

usage: python scripts/make_linear_table.py [TYPE…]     needs torch, transformers, timm, scipy; makes no weights, takes minutes

Every model type is built on the meta device, with its default configuration cut to a few layers and then with each switch
and each kind of layer changed. With types named, prints their entries and writes nothing.

An entry holds for its `types`:
  linear, embedding, turned, other   shortest ends of weights' names that tell them apart; `turned` lie with inputs before
                             outputs (Conv1D), `other` are routers and the like
  converted                  weights that loading splits or joins, or that end in something else than ".weight": name -> names of the
                             modules that it becomes
  modules                    beginnings of names: as files have them -> as the loader calls the module ("*" is a number)
  heads                      Linears that share the embedding's weight, which files then leave out
  experts                    "merged": loading makes one tensor of those of single experts; "fused": files hold experts in one
                             tensor, and loading does not make it of single ones
  asked                      ends of names of the Linears whose weight transformers asks for while it loads, as if each had one;
                             "*" is all. Packed ones have none, so that they do not open
"""

import collections
import itertools
import json
import os
import re
import signal
import sys
import warnings
from pathlib import Path

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
warnings.filterwarnings("ignore")
import torch
import transformers
from transformers.configuration_utils import ALLOWED_LAYER_TYPES
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import (
    PrefixChange,
    WeightConverter,
    WeightRenaming,
    rename_source_key,
    revert_weight_conversion,
)
from transformers.models.auto import modeling_auto
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.pytorch_utils import Conv1D
from transformers.quantizers.base import MODULES_TO_PATCH_FOR_QUANTIZATION

OUT = Path(__file__).parent.parent / "src/model/linear-table.json"
AUTO_CLASSES = ("CAUSAL_LM", "IMAGE_TEXT_TO_TEXT", "MULTIMODAL_LM", "SPEECH_SEQ_2_SEQ", "SEQ_TO_SEQ_CAUSAL_LM", "MASKED_LM")
# Configurations to try of models that generate text, and of all others.
MOST_TRIED = {True: 24, False: 2}
LAYERS = 4
COUNTS = {"num_hidden_layers", "n_layer", "num_layers", "n_layers", "depth", "encoder_layers", "decoder_layers"}
EXPERTS = {"num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"}
LAYER_LISTS = ("layer_types", "layers_block_type", "mlp_layer_types", "layers_block_types")
# Switches of this kind make no other matrices.
IDLE = re.compile("bias|cache|output|return|scale|tie_|init|topk|chunk|mask|sliding|causal|rope|kernel|dropout")
# Switches that make other modules although they are no booleans.
ALTERNATIVES = {"q_lora_rank": (None, 32), "shared_expert_intermediate_size": (64,), "num_experts": (4,), "num_local_experts": (4,)}
# Values for fields that some default configurations leave open.
OPEN_FIELDS = {"num_key_value_heads": 8, "head_dim": 64, "n_routed_experts": 8, "n_shared_experts": 1, "num_experts": 8,
               "num_local_experts": 8, "moe_intermediate_size": 64, "num_experts_per_tok": 2, "vocab_size": 1024,
               "layer_types": ["linear_attention", "full_attention"] * 16, "num_attention_heads": 8, "hidden_size": 512, "pad_token_id": 0, "vocabulary_map": {"<image>": 5}}

# An expert's Linears as src/plan/checkpoint/split-experts.ts names them, of a tensor that holds all experts.
FUSED_EXPERTS = re.compile(r"(.*\.experts)\.(gate_up_proj|down_proj)")


def class_names():
    """Names of the classes to try for each model type, best first."""
    names = collections.defaultdict(list)
    for auto in [f"MODEL_FOR_{name}_MAPPING_NAMES" for name in AUTO_CLASSES] + ["MODEL_MAPPING_NAMES"]:
        for kind, own in getattr(modeling_auto, auto).items():
            names[kind] += [own] if isinstance(own, str) else own[:1]
    return names


def parts_of(config):
    """A configuration and all that are nested in it."""
    nested = [value for value in vars(config).values() if isinstance(value, transformers.PreTrainedConfig)]
    return [config] + [part for value in nested for part in parts_of(value)]


def attempt(config, field, value):
    try:
        setattr(config, field, value)
    except Exception:
        pass


def shorten(config):
    """Cuts a configuration to a few layers and experts, keeping one layer of each kind."""
    for part in parts_of(config):
        kept = LAYERS
        if getattr(part, "num_kv_shared_layers", 0):
            attempt(part, "num_kv_shared_layers", 0)
        for field in LAYER_LISTS:
            kinds = getattr(part, field, None)
            if isinstance(kinds, (list, tuple)) and len(kinds) > LAYERS:
                firsts = [kinds.index(kind) for kind in dict.fromkeys(kinds)]
                more = [index for index in range(len(kinds)) if index not in firsts]
                places = sorted((firsts + more)[: max(LAYERS, len(firsts))])
                kept = len(places)
                attempt(part, field, [kinds[index] for index in places])
        for fields, most in ((COUNTS, kept), (EXPERTS, 8)):
            for field in fields:
                if isinstance(getattr(part, field, None), int) and getattr(part, field) > most:
                    attempt(part, field, most)
    return config


def configurations(kind):
    """The default configuration, and one for each switch that may make other modules."""

    def make(changes=()):
        config = CONFIG_MAPPING[kind]()
        for index, field, value in changes:
            attempt(parts_of(config)[index], field, value)
        return shorten(config)

    # Layers of each kind come first: they make the most difference.
    base = make()
    filled = [(index, field, value) for index, part in enumerate(parts_of(base)) for field, value in OPEN_FIELDS.items()
              if vars(part).get(field, 0) is None]
    for index, part in enumerate(parts_of(base)):
        if (vars(part).get("pad_token_id") or 0) >= (vars(part).get("vocab_size") or 2**31):
            filled.append((index, "pad_token_id", 0))
    yield base
    yield make(filled)
    for index, part in enumerate(parts_of(base)):
        for field in LAYER_LISTS:
            kinds = vars(part).get(field)
            for new in ALLOWED_LAYER_TYPES if isinstance(kinds, list) else ():
                if new not in kinds:
                    yield make([*filled, (index, field, [new] * len(kinds))])
        for field, value in list(vars(part).items()):
            for new in (not value,) if isinstance(value, bool) else ALTERNATIVES.get(field, ()):
                if not field.startswith("_") and not IDLE.search(field) and new != value:
                    yield make([*filled, (index, field, new)])


def kind_of(module):
    if isinstance(module, torch.nn.Linear):
        return "linear"
    if isinstance(module, Conv1D):
        return "turned"
    return "embedding" if isinstance(module, torch.nn.Embedding) else "other"


def saved_names(model, weights):
    """Weights as the model's own format, as transformers 5 without the base model's prefix, and as the modules name them."""
    conversions = get_model_conversion_mapping(model, add_legacy=False)
    for chosen in (conversions, [one for one in conversions if not isinstance(one, PrefixChange)]):
        model._weight_conversions = chosen or None
        if chosen:
            yield revert_weight_conversion(model, dict(weights))
    yield weights


def weights_of(model):
    """(name in a file, names of the modules, kind) of each two-dimensional weight, and the heads."""
    weights, modules = model.state_dict(), dict(model.named_modules())
    conversions = get_model_conversion_mapping(model)
    renamings = [one for one in conversions if isinstance(one, WeightRenaming)]
    converters = [one for one in conversions if isinstance(one, WeightConverter)]
    rows = {}
    for saved in saved_names(model, weights):
        for name, tensor in saved.items():
            if tensor.ndim != 2:
                continue
            target, pattern = rename_source_key(name, renamings, converters, model.base_model_prefix, weights)
            if not (name.endswith(".weight") or target.endswith(".weight")):
                continue
            module = target.removesuffix(".weight")
            own = name.removesuffix(".weight")
            if pattern is None:
                if target in weights:  # under another name it is no Linear's in files, and one's once it is loaded
                    rows[own] = ((module,), kind_of(modules[module]) if name.endswith(".weight") else "converted")
                continue
            converter = next(one for one in converters if pattern in one.source_patterns)
            if type(converter.operations[0]).__name__ == "MergeModulelist":
                rows[own] = ((), "linear")  # an expert's Linear, which is a module in files and servers alone
            else:
                first, *others = [one.removesuffix(".weight") for one in converter.target_patterns]
                rows[own] = ((module, *(module.replace(first, other) for other in others)), "converted")
    tied = [re.compile(key) for key in getattr(model, "all_tied_weights_keys", {})]
    linears = [name for name, module in modules.items() if isinstance(module, torch.nn.Linear)]
    heads = {name for name in linears if any(key.fullmatch(f"{name}.weight") for key in tied)}
    output = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    return rows, heads | {name for name in linears if modules[name] is output}


def keeps_experts_fused(model):
    """True if files hold some experts in one tensor, and loading has no rule that makes it of the tensors of single experts."""
    if any(type(module).__name__ in MODULES_TO_PATCH_FOR_QUANTIZATION for module in model.modules()):
        return False  # Llama 4's, which are Linears in a quantized model
    weights, conversions = model.state_dict(), get_model_conversion_mapping(model)
    renamings = [one for one in conversions if isinstance(one, WeightRenaming)]
    converters = [one for one in conversions if isinstance(one, WeightConverter)]
    for module, part in (found.groups() for found in map(FUSED_EXPERTS.fullmatch, next(saved_names(model, weights))) if found):
        single = f"{module}.0.{'down_proj' if part == 'down_proj' else 'gate_proj'}.weight"
        _, pattern = rename_source_key(single, renamings, converters, model.base_model_prefix, weights)
        converter = next((one for one in converters if pattern in one.source_patterns), None)
        if not converter or type(converter.operations[0]).__name__ != "MergeModulelist":
            return True
    return False


def asked_of(model):
    """(module, whether classes ask for its weight as they initialize) of each Linear. Takes the Linears' weights away."""
    linears = {name: module for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    names = {module: name for name, module in linears.items()}
    for module in linears.values():
        module._parameters.pop("weight", None)
    asked = set()

    def walk(module, owner):
        for child in module.children():
            walk(child, child if isinstance(child, transformers.PreTrainedModel) else owner)
        try:
            owner._init_weights(module)
        except AttributeError as error:
            if str(error).endswith("no attribute 'weight'"):
                near = [one for one in (module, *module.children()) if one in names]
                asked.update(near or [one for one in module.modules() if one in names])
        except Exception:
            pass  # what needs numbers has none here

    with torch.no_grad():
        walk(model, model)
    for pair in getattr(model, "all_tied_weights_keys", {}).items():
        shared = [linears.get(key.removesuffix(".weight")) for key in pair]
        if all(shared):  # of two Linears, of which one may be quantized
            asked.update(shared)
    return {name: module in asked for name, module in linears.items()}


def star(name):
    return ".".join("*" if part.isdigit() else part for part in name.split("."))


def star_as(own, modules):
    """Modules with as many stars as there are numbers in the file's name: "fc1" is "layers.0"."""
    count = star(own).split(".").count("*")
    return tuple(re.sub(r"(?<![^.])\d+(?![^.])", "*", module, count=count) if count else module for module in modules)


def build(kind, names):
    """Facts of one type: starred name -> (starred modules, kind), heads, fused experts, starred Linears -> whether they are asked
    for their weight; the problem if it cannot be built."""
    facts, heads, fused, asked, problem, working = {}, set(), False, {}, None, None
    generates = any(name != modeling_auto.MODEL_MAPPING_NAMES.get(kind) for name in names)
    for config in itertools.islice(configurations(kind), MOST_TRIED[generates]):
        for name in [working] if working else names:
            try:
                signal.alarm(60)
                with torch.device("meta"):
                    model = getattr(transformers, name)(config)
                rows, own_heads = weights_of(model)
                fused |= keeps_experts_fused(model)
                for linear, is_asked in asked_of(model).items():
                    asked[star(linear)] = asked.get(star(linear), False) or is_asked
                working = name
            except Exception as error:
                problem = problem or f"{type(error).__name__}: {str(error).strip()[:100]}"
                continue
            finally:
                signal.alarm(0)
            heads |= own_heads
            merge(facts, rows)
            break
    return (facts, heads, fused, asked) if working else problem


def merge(facts, rows):
    starred = collections.defaultdict(set)
    for own, (modules, _) in rows.items():
        starred[star(own)].add(star_as(own, modules))
    for own, (modules, kind) in rows.items():
        # Numbers stay where they decide about the module: "mlp.0" is fc1 and "mlp.2" is fc2.
        exact = len(starred[star(own)]) > 1
        key = own if exact else star(own)
        value = (modules if exact else star_as(own, modules), kind)
        facts.setdefault(key, value)
        if facts[key][1] != kind:
            facts[key] = (value[0], "other")


def ends(facts):
    """The shortest ends of names, in whole parts, that belong to one kind alone."""
    kinds = collections.defaultdict(set)
    for name, (modules, kind) in facts.items():
        parts = star(name).split(".")
        for first in range(len(parts)):
            kinds[".".join(parts[first:])].add(kind)
    found = collections.defaultdict(set)
    for name, (modules, kind) in facts.items():
        parts = star(name).split(".")
        tails = [".".join(parts[first:]) for first in range(len(parts) - 1, -1, -1)]
        end = next((tail for tail in tails if tail != "*" and kinds[tail] == {kind}), None)
        if end:
            found[kind].add(end)
    return found


def beginnings(facts):
    """Beginnings of names in files -> of modules, without what both end with; whole names where that would mislead."""
    one_to_one = {name: modules[0] for name, (modules, kind) in facts.items() if modules and kind != "converted"}
    pairs = {}
    for name, module in one_to_one.items():
        own, other = name.split("."), module.split(".")
        while len(own) > 1 and other and own[-1] == other[-1]:
            own.pop(), other.pop()
        if own != other:
            pairs[".".join(own)] = ".".join(other)
    pairs |= {name: module for name, module in one_to_one.items() if renamed(name, pairs) != module}
    return dict(sorted(pairs.items()))


def renamed(name, pairs):
    """What src/model/linear-classes.ts makes of a starred name: its longest beginning in the pairs is replaced."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        module = pairs.get(".".join(parts[:length]))
        if module is not None:
            return ".".join([*filter(None, [module]), *parts[length:]])
    return name


def asked_ends(asked):
    if all(asked.values()):
        return "*" if asked else ""
    return " ".join(sorted(ends({name: ((), "asked" if is_asked else "plain") for name, is_asked in asked.items()})["asked"]))


def entry(facts, heads, fused, asked):
    found = ends(facts)
    converted = {name: " ".join(modules) for name, (modules, kind) in facts.items() if kind == "converted"}
    row = {kind: " ".join(sorted(found[kind])) for kind in ("linear", "embedding", "turned", "other")}
    row |= {"converted": dict(sorted(converted.items())), "modules": beginnings(facts), "heads": " ".join(sorted(heads))}
    merged = any(not modules for modules, _ in facts.values())
    row["experts"] = "fused" if fused else "merged" if merged else ""
    row["asked"] = asked_ends(asked)
    return {key: value for key, value in row.items() if value}


def tabulate(kinds):
    """Entries of the types that can be built, and why the others cannot."""
    names, table, failed = class_names(), {}, {}
    for kind in kinds or names:
        try:
            facts = build(kind, names[kind])
        except Exception as error:
            facts = f"{type(error).__name__}: {str(error).strip()[:100]}"
        if isinstance(facts, tuple):
            table[kind] = entry(*facts)
        else:
            failed[kind] = facts
    return table, failed


def table_text(table):
    """One line for all types that share an entry."""
    groups = collections.defaultdict(list)
    for kind, row in table.items():
        if row:
            groups[json.dumps(row)].append(kind)
    lines = [json.dumps({"types": " ".join(sorted(kinds)), **json.loads(row)}) for row, kinds in groups.items()]
    version = json.dumps(transformers.__version__)
    return f'{{"transformers": {version}, "entries": [\n' + ",\n".join(sorted(lines)) + "\n]}\n"


def main():
    def too_long(*_):
        raise TimeoutError("more than a minute")

    signal.signal(signal.SIGALRM, too_long)
    table, failed = tabulate(sys.argv[1:])
    print(len(table), "types;", len(failed), "not built:", json.dumps(failed, indent=1))
    if sys.argv[1:]:
        print(table_text(table))
    else:
        OUT.write_text(table_text(table))


if __name__ == "__main__":
    main()
