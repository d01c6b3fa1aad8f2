"""What the environment of the process says to JAX: refused in a line where it cannot work."""

import gc
import os
import sys
from collections.abc import Sequence

from asc_jax.runtime.errors import InputError

# JAX's settings under which nothing here can work: each with the values that it must not have.
# Float32 is what is computed in, by compiled programs, on arrays that go from host to device
# where they are named. Other settings that change numbers are the user's.
_REFUSED = {
    "jax_enable_x64": (True,),
    "jax_disable_jit": (True,),
    "jax_no_execution": (True,),
    "jax_numpy_rank_promotion": ("raise",),
    "jax_numpy_dtype_promotion": ("strict",),
    "jax_transfer_guard": ("disallow", "disallow_explicit"),
    "jax_transfer_guard_host_to_device": ("disallow", "disallow_explicit"),
    "jax_transfer_guard_device_to_device": ("disallow", "disallow_explicit"),
    "jax_transfer_guard_device_to_host": ("disallow_explicit",),
}

# Which devices JAX looks for.
_PLATFORMS = ("JAX_PLATFORMS", "JAX_PLATFORM_NAME", "JAX_DEFAULT_DEVICE")


def import_jax() -> None:
    """Imports JAX, which reads its variables, and refuses what no command that computes can use.

    Raises:
      InputError: naming the variable.
    """
    try:
        import jax
    except ValueError as error:
        reason = _in_a_line(error)
        named = [name for name in _set() if name.lower() in reason.lower()] or _set()
        raise InputError(f"{reason}; correct it, or unset it", field=_values(named)) from None
    # Tracing makes many objects that stay: to look through them after every few hundred new ones
    # takes a quarter of its time.
    gc.set_threshold(100_000, 50, 50)
    for name, values in _REFUSED.items():
        value = getattr(jax.config, name, None)
        if value in values:
            text = os.environ.get(name.upper(), value)
            raise InputError("is not supported; unset it", field=name.upper(), value=text)


def precision_of_devices() -> str:
    """What `train.precision="auto"` stands for here.

    Asked by a process of its own: this one would keep a GPU's memory from those that it starts.
    """
    import subprocess

    code = "from asc_jax.runtime import precision; print(precision.named('auto'))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    name = found.stdout.strip()
    if found.returncode or not name:
        raise InputError(
            f"JAX finds no device ({_in_a_line(found.stderr)[-200:]}); check JAX_PLATFORMS, "
            "or set train.precision",
            field="train.precision",
            value="auto",
        )
    return name


def start_devices() -> None:
    """Starts JAX's devices; of several processes after they have joined.

    Raises:
      InputError: there are none such as the environment asks for.
    """
    import jax

    try:
        jax.device_put(0, jax.local_devices()[0])
        jax.numpy.zeros(()).block_until_ready()  # on the default device
    except (RuntimeError, ValueError, AssertionError) as error:
        named = [name for name in _set() if name in _PLATFORMS]
        reason = f" ({_in_a_line(error)})" if str(error) else ""
        said = (
            f"JAX cannot use such a device here{reason}; unset it"
            if named
            else f"JAX finds no device{reason}; set JAX_PLATFORMS=cpu to compute on the CPU"
        )
        raise InputError(said, field=_values(named)) from None


def _set() -> list[str]:
    """JAX's variables that are set."""
    return [name for name in os.environ if name.startswith("JAX_")]


def _values(names: Sequence[str]) -> str:
    return ", ".join(f"{name}={os.environ[name]}" for name in names)


def _in_a_line(error: Exception | str) -> str:
    return " ".join(str(error).split()).rstrip(".")
