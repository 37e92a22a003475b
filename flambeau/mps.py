"""torch.mps: no such device here."""


def is_available() -> bool:
    """False."""
    return False


def device_count() -> int:
    """0."""
    return 0


def empty_cache() -> None:
    """Nothing is cached on such a device."""


def synchronize(device=None) -> None:
    """Nothing runs on such a device."""
