"""DataParallel: a batch split over the devices of this process."""

from flambeau.nn.modules.module import Module

__all__ = ["DataParallel", "data_parallel"]


def _chosen_devices(device_ids, who):
    """The device ids, refused if they are several: splitting a batch over devices is not provided."""
    ids = [] if device_ids is None else list(device_ids)
    if len(ids) > 1:
        raise NotImplementedError(
            f"{who}: running on several devices in one process is not available in this build, got "
            f"device_ids={ids}; use one device, or one process per device"
        )
    return ids


class DataParallel(Module):
    """``module`` on the devices of this process. With none or one device it calls the module as it is.

    Args: module: what to run, kept as ``.module``; device_ids, output_device, dim: as in PyTorch.
    Errors: NotImplementedError for several ``device_ids``.
    """

    def __init__(self, module, device_ids=None, output_device=None, dim=0):
        super().__init__()
        self.module = module
        self.device_ids = _chosen_devices(device_ids, "DataParallel")
        self.dim = dim
        self.output_device = output_device
        if self.device_ids and output_device is None:
            self.output_device = self.device_ids[0]

    def forward(self, *inputs, **kwargs):
        return self.module(*inputs, **kwargs)


def data_parallel(
    module, inputs, device_ids=None, output_device=None, dim=0, module_kwargs=None
):
    """``module(*inputs, **module_kwargs)`` on the devices of this process (one, at most)."""
    _chosen_devices(device_ids, "data_parallel")
    inputs = inputs if isinstance(inputs, tuple) else () if inputs is None else (inputs,)
    return module(*inputs, **(module_kwargs or {}))
