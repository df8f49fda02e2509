"""Access to matplotlib, which draws reports and colours heat maps."""

from types import ModuleType


def require_matplotlib() -> ModuleType:
    """Import matplotlib, without its windows.

    Raises:
        ValueError: it is not installed; the message says how to install it.
    """
    try:
        import matplotlib
        import matplotlib.figure
    except ImportError as error:
        raise ValueError(
            "matplotlib is not installed, which draws reports and heat maps. In the pack's folder run "
            "pip install -r requirements.txt with ComfyUI's Python, and restart ComfyUI."
        ) from error
    return matplotlib
