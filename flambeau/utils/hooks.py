"""torch.utils.hooks: what registering a hook gives back."""

from flambeau.nn.modules.module import RemovableHandle

__all__ = ["RemovableHandle"]
