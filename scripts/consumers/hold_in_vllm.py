"""What vLLM's own loader makes of a mixture of experts that it has no kernel for on a processor.

Configuration, choice of scheme, names, shapes and the loading of fused parameters are vLLM's; only the kernels, and what
prepares weights for them, are left out. Then each expert's parameters (w13 is gate and up, w2 is down) are compared with the
tensors of the folder. Made for vLLM 0.32.
"""

import importlib
import pkgutil
from pathlib import Path

import torch
from safetensors import safe_open

LINEARS = {"w13": (("gate_proj", "w1"), ("up_proj", "w3")), "w2": (("down_proj", "w2"),)}
# Orders of columns, which none of these schemes has, and scales of inputs, which weights alone have none of.
UNCOMPARED = ("weight_g_idx", "g_idx", "weight_shape", "input_global_scale", "input_scale")


class Done(Exception):
    """The model is loaded and compared: vLLM need not go on."""


def leave_out_kernels():
    import vllm.model_executor.kernels.linear as kernels
    import vllm.model_executor.layers.quantization.compressed_tensors.compressed_tensors_moe as methods
    from vllm.model_executor.kernels.linear import MPLinearKernel
    from vllm.model_executor.kernels.linear.mxfp4.base import MxFp4LinearKernel
    from vllm.model_executor.kernels.linear.nvfp4.base import NvFp4LinearKernel, NvFp4LinearLayerConfig
    from vllm.model_executor.layers.fused_moe.oracle.int_wna16 import WNA16MoEBackend
    from vllm.model_executor.layers.quantization.compressed_tensors.schemes import compressed_tensors_w4a4_nvfp4 as nvfp4
    from vllm.platforms import PlatformEnum

    skip = {
        "get_min_capability": classmethod(lambda cls: -1),
        "is_supported": classmethod(lambda cls, capability=None: (True, None)),
        "can_implement": classmethod(lambda cls, config: (True, None)),
        "process_weights_after_loading": lambda self, layer: None,
        "apply_weights": lambda self, layer, x, bias=None: None,
    }
    kernels._POSSIBLE_KERNELS[PlatformEnum.CPU].append(type("NoKernel", (MPLinearKernel,), skip))
    kernels._POSSIBLE_MXFP4_KERNELS[PlatformEnum.CPU] = [type("NoMxKernel", (MxFp4LinearKernel,), skip)]
    no_nv_kernel = type("NoNvKernel", (NvFp4LinearKernel,), skip)
    nvfp4.init_nvfp4_linear_kernel = lambda use_a16=False: no_nv_kernel(NvFp4LinearLayerConfig())
    unpadded = next(one for one in WNA16MoEBackend if "MARLIN" not in one.name and "EMUL" not in one.name)
    for info in pkgutil.iter_modules(methods.__path__):
        try:
            module = importlib.import_module(f"{methods.__name__}.{info.name}")
        except ImportError:
            continue  # for other hardware
        for name, value in list(vars(module).items()):
            if isinstance(value, type) and name.endswith("MoEMethod"):
                value.process_weights_after_loading = lambda self, layer: None
            elif name == "select_wna16_moe_backend":
                setattr(module, name, lambda **_: (unpadded, None))
            elif name.startswith("select_") and name.endswith("_moe_backend"):
                setattr(module, name, lambda *_, **__: (None, None))
            elif name == "is_global_sf_supported_for_nvfp4_backend":
                setattr(module, name, lambda _: False)


def stored(folder):
    tensors = {}
    for path in Path(folder).glob("*.safetensors"):
        with safe_open(path, "pt") as file:
            tensors.update({name: file.get_tensor(name) for name in file.keys()})
    return tensors


def same(got, parts):
    """True if a parameter's slice holds the tensors one below the other, whatever shape it lies in."""
    wanted = torch.cat([part.reshape(1) if part.numel() == 1 else part for part in parts])
    if got.numel() != wanted.numel():
        return False
    flat = got.reshape(wanted.shape) if got.shape[:1] == wanted.shape[:1] or got.ndim < 2 else got.t().reshape(wanted.shape)
    return torch.equal(flat.float(), wanted.float())


def compare(model, tensors):
    """(expert tensors that are the folder's, names of those that are not)"""
    equal, wrong = 0, []
    for name, module in model.named_modules():
        if "MoE" not in type(getattr(module, "quant_method", None)).__name__:
            continue
        prefix = f"{name.removesuffix('.routed_experts').removesuffix('.experts')}.experts"
        for parameter, values in module.named_parameters():
            which, _, suffix = parameter.partition("_")
            for expert in range(values.shape[0] if which in LINEARS and suffix not in UNCOMPARED else 0):
                names = [[f"{prefix}.{expert}.{one}.{suffix}" for one in either] for either in LINEARS[which]]
                parts = [tensors[one] for either in names for one in either if one in tensors]
                if len(parts) == len(names) and same(values.data[expert], parts):
                    equal += 1
                else:
                    wrong.append(f"{prefix}.{expert}.{parameter}")
    return equal, wrong


def hold(folder):
    """Loads a folder; (expert tensors that arrived, names of those that did not)."""
    from vllm import LLM
    from vllm.v1.worker.cpu_model_runner import CPUModelRunner

    leave_out_kernels()
    load, found = CPUModelRunner.load_model, []

    def load_and_compare(self, *args, **more):
        load(self, *args, **more)
        found.append(compare(self.model, stored(folder)))
        raise Done

    CPUModelRunner.load_model = load_and_compare
    try:
        LLM(model=folder, dtype="bfloat16", enforce_eager=True, max_model_len=64, max_num_seqs=1, skip_tokenizer_init=True)
    except Exception:
        if not found:
            raise
    return found[0]
