"""torch.distributed: not here yet. Programs that ask find out; the rest says so."""


def is_available() -> bool:
    """False: there are no process groups yet."""
    return False


def is_initialized() -> bool:
    """False."""
    return False


def is_torchelastic_launched() -> bool:
    """False."""
    return False


def __getattr__(name: str):
    if name.startswith("__"):
        raise AttributeError(name)
    if name[0].isupper():
        raise AttributeError(f"module 'flambeau.distributed' has no attribute {name!r}: distributed training is not implemented (yet)")

    def call(*args, **kwargs):
        raise RuntimeError(f"torch.distributed.{name}: distributed training is not implemented in flambeau (yet)")

    call.__name__ = name
    return call
