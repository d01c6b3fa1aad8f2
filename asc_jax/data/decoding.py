"""How audio files become clips: all that decides their values, by name."""

import dataclasses
import pathlib
import sys
import tempfile
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from asc_jax import frontend as frontend_module
from asc_jax.data import audio, cache
from asc_jax.frontend import Frontend, FrontendConfig, frontend_function
from asc_jax.parallel import programs
from asc_jax.runtime import sources
from asc_jax.runtime.errors import InputError

KINDS = ("log_mel", "waveform")


@dataclasses.dataclass(frozen=True)
class Decoding:
    """How an audio file becomes a clip of a pool.

    Attributes:
      kind: "log_mel", or "waveform" to run the frontend inside the training step.
      frontend: its parameters; for waveforms only `sr` matters.
      clip_seconds: length of every clip, s.
      n_frames: log-mel frames kept, from the first; 0 for all.
      channels: channels that every file must have; 0 for any.
      fit_length: cut or zero-fill clips of another length instead of refusing them.
      trim_silence: leave out silence at both ends of a file.
    """

    kind: str
    frontend: Frontend
    clip_seconds: float
    n_frames: int = 0
    channels: int = 0
    fit_length: bool = False
    trim_silence: bool = False

    @property
    def n_samples(self) -> int:
        """Length of every clip, samples."""
        return round(self.clip_seconds * self.frontend.sr)

    @property
    def key(self) -> dict:
        """All of it, as it names the cache's entry; of waveforms there is one for all frontends."""
        fields = dataclasses.asdict(self)
        if self.kind == "waveform":
            fields |= {"frontend": {"sr": self.frontend.sr}, "n_frames": 0}
        elif self.frontend.name != "pcen":  # the function is known by its program
            kept = fields["frontend"].items()
            fields["frontend"] = {f: v for f, v in kept if f != "name" and not f.startswith("pcen")}
        return fields


def computed_by(decoding: Decoding) -> dict[str, str | None]:
    """Names the program that turns waveforms into a pool's values; see `programs.name_program`."""
    if decoding.kind == "waveform":
        return {}
    step = jax.jit(frontend_function(decoding.frontend))
    own = not isinstance(decoding.frontend, FrontendConfig)  # which may need a whole clip
    n_samples = decoding.n_samples if own else decoding.frontend.sr
    clip = jax.ShapeDtypeStruct((n_samples,), jnp.float32)
    return {"log_mel": programs.name_program(step, clip)}


def answer(decoding: Decoding) -> np.ndarray:
    """Decodes recordings that are always the same: whatever decodes otherwise gives other values.

    Args:
      decoding: of the pool; its clips' length, channels and frames do not matter.

    Returns:
      Two clips of the pool, float32: (2, N, M) log-mels or (2, T) waveforms. Of noise of two
      channels of 24 bits, at the rate of the frontend and at another.

    Raises:
      InputError: there is no folder for temporary files.
    """
    import soundfile

    frontend = decoding.frontend
    rates = frontend.sr, frontend.sr + 1000
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (max(rates) // 10, 2))
    n_samples = decoding.n_samples
    if isinstance(frontend, FrontendConfig):
        n_samples = max(frontend.sr // 10, 2 * frontend.n_fft)
    seconds = n_samples / frontend.sr
    read = clip_reader(Decoding(decoding.kind, frontend, seconds, channels=2, fit_length=True))
    clips = []
    try:
        with tempfile.TemporaryDirectory() as folder:
            for rate in rates:
                path = pathlib.Path(folder) / f"{rate}.wav"
                soundfile.write(path, noise, rate, subtype="PCM_24")
                values, (scale, offset) = cache.quantise(read(path)[0])
                clips.append(values * scale + offset)
    except (OSError, soundfile.LibsndfileError) as error:
        raise InputError(f"{error}; set it to a writable folder", field="TMPDIR") from None
    except InputError:  # a frontend that overflows: the clips will say so
        return np.full(1, np.nan)
    return np.stack(clips)


def written_in() -> dict[str, str]:
    """Finds the files of what decodes and quantises, with all that it uses; see `sources`.

    The log-mel is known by its program, not by its files.
    """
    return sources.written_in(sys.modules[__name__], apart=(frontend_module, programs, sources))


def clip_reader(decoding: Decoding) -> Callable[[pathlib.Path], tuple[np.ndarray, float]]:
    """What turns a file into its clip of the pool, before that is quantised.

    It is called from `map_files`' threads, one clip a call: XLA's buffers for a large
    batch are fetched from the system anew each time, which on a CPU takes as long as the
    log-mels themselves (docs/performance.md).

    Returns:
      path -> (N, M) log-mels or (T,) waveform, float32, and how long the file is, seconds. It
      raises `InputError` as `audio.read_clip`, and where a value is not finite.
    """
    # Two programs: in one, XLA would decode a sample again for every frame that it is in.
    to_mono = jax.jit(audio.mono)
    to_log_mel = jax.jit(frontend_function(decoding.frontend))

    def read(path):
        samples, seconds = audio.read_clip(
            path,
            sr=decoding.frontend.sr,
            channels=decoding.channels,
            n_samples=decoding.n_samples,
            fit_length=decoding.fit_length,
            trim_silence=decoding.trim_silence,
        )
        values = to_mono(samples)
        if decoding.kind == "log_mel":
            values = to_log_mel(values)[: decoding.n_frames or None]
        values = np.asarray(values)
        if not np.isfinite(values).all():
            what = decoding.kind.replace("_", "-")
            raise InputError(
                f"its {what} is not finite; replace the file, or correct frontend.* if this is "
                "so for all files",
                path=path,
            )
        return values, seconds

    return read


def versions() -> dict[str, str]:
    """The libraries that decide what a decoded file becomes."""
    import jaxlib
    import soundfile
    import soxr

    return {
        "jaxlib": jaxlib.__version__,
        "numpy": np.__version__,
        "libsndfile": soundfile.__libsndfile_version__,
        "soxr": soxr.__version__,
    }
