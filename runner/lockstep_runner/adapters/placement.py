"""Where a network goes and in which number type."""

from __future__ import annotations

from typing import Any

from lockstep_runner.contract import ContractError

# dtype auto: the checkpoint's own on a GPU, float32 without one, where half precision lacks operators;
# device_map: as transformers takes it, for models larger than one GPU
PLACEMENT: dict[str, Any] = {"dtype": "auto", "device_map": None}


def placement(settings: dict[str, Any]) -> dict[str, Any]:
    """Arguments of `from_pretrained`. Raises ContractError for a type that torch does not have."""
    import torch

    name = settings["dtype"]
    if name == "auto":
        dtype: Any = "auto" if torch.cuda.is_available() else torch.float32
    else:
        dtype = getattr(torch, name, None)
        if not isinstance(dtype, torch.dtype):
            raise ContractError(f"setting dtype: {name!r} is no torch type; write float32, float16, bfloat16 or auto")
    spread = {} if settings["device_map"] is None else {"device_map": settings["device_map"]}
    return {"torch_dtype": dtype, **spread}


def placed(network: Any, settings: dict[str, Any]) -> Any:
    """On the GPU where there is one and nothing else was said; ready to generate."""
    import torch

    network = network.eval()
    if settings["device_map"] is None and torch.cuda.is_available():
        network = network.cuda()
    return network
