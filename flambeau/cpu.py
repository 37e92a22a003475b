"""torch.cpu: the one device."""


def is_available() -> bool:
    """True."""
    return True


def device_count() -> int:
    """1."""
    return 1


def current_device() -> str:
    """The device's name."""
    return "cpu"


def synchronize(device=None) -> None:
    """Nothing runs asynchronously."""
