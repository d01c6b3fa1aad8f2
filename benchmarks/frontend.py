"""From files to log-mels, and from waveforms to log-mels: asc_jax, librosa, PyTorch."""

import functools
import os
import pathlib
import tempfile

import jax
import numpy as np

from asc_jax.data import decoding, many_files
from asc_jax.frontend import FrontendConfig, log_mel, mel_filterbank
from benchmarks import measure

CONFIG = FrontendConfig()
BATCH = 16  # waveforms in memory
SECONDS = 10
N_FILES = 60
ROUNDS = 3


def run(args) -> dict:
    """Measures both; see `benchmarks.__main__` for the arguments."""
    n_files, seconds = (4, 1) if args.quick else (N_FILES, SECONDS)
    rounds = 1 if args.quick else ROUNDS
    with tempfile.TemporaryDirectory() as folder:
        paths = write_clips(pathlib.Path(folder), n_files, seconds)
        rows = from_files(paths, seconds, rounds)
    rows += from_waveforms(BATCH, seconds, rounds)
    return {"rows": rows, "clip seconds": seconds, "files": n_files, "rounds": rounds}


def write_clips(folder: pathlib.Path, n_files: int, seconds: int) -> list[pathlib.Path]:
    """Noise as 48 kHz stereo files of 24 bits, the form of DCASE 2018's clips."""
    import soundfile

    rng = np.random.default_rng(0)
    paths = [folder / f"{i}.wav" for i in range(n_files)]
    for path in paths:
        samples = 0.1 * rng.standard_normal((seconds * CONFIG.sr, 2), np.float32)
        soundfile.write(path, samples, CONFIG.sr, subtype="PCM_24")
    return paths


def from_files(paths: list[pathlib.Path], seconds: int, rounds: int) -> list[dict]:
    """Rows for reading and log-mels together, as the pool is made."""
    read = decoding.clip_reader(decoding.Decoding("log_mel", CONFIG, seconds, channels=2))
    calls, absent = {"asc_jax": lambda: list(many_files.map_files(read, paths))}, {}
    librosa_log_mel = _librosa()
    if librosa_log_mel is None:
        absent["librosa"] = measure.NOT_INSTALLED
    else:
        import librosa

        calls["librosa"] = lambda: [
            librosa_log_mel(librosa.load(path, sr=CONFIG.sr, mono=True)[0]) for path in paths
        ]
    return rows("files to log-mels", calls, absent, len(paths), rounds)


def from_waveforms(n_clips: int, seconds: int, rounds: int) -> list[dict]:
    """Rows for log-mels alone, of waveforms in memory; ours clip by clip, as the pool is made."""
    shape = (n_clips, seconds * CONFIG.sr)
    waveforms = 0.1 * np.random.default_rng(0).standard_normal(shape, np.float32)
    compute = jax.jit(functools.partial(log_mel, cfg=CONFIG))
    on_device = jax.device_put(waveforms)
    one_by_one = [jax.device_put(waveform) for waveform in waveforms]
    calls = {
        "asc_jax": lambda: [compute(waveform).block_until_ready() for waveform in one_by_one],
        "asc_jax, one batch": lambda: compute(on_device).block_until_ready(),
    }
    absent = {}
    librosa_log_mel = _librosa()
    if librosa_log_mel is None:
        absent["librosa"] = measure.NOT_INSTALLED
    else:
        calls["librosa"] = lambda: [librosa_log_mel(waveform) for waveform in waveforms]
    peer = measure.torch_peer("torch_resnet")
    if isinstance(peer, str):
        absent["PyTorch"] = peer
    else:
        _, device = peer
        calls["PyTorch"] = _torch(waveforms, device)
    return rows("waveforms to log-mels", calls, absent, n_clips, rounds)


def rows(task: str, calls: dict, absent: dict, n_clips: int, rounds: int) -> list[dict]:
    """A row per way to do a task, each with how far its log-mels are from the first one's."""
    reference = np.stack([np.asarray(clip) for clip in calls["asc_jax"]()])
    times = measure.alternate(calls, rounds)
    seconds = measure.medians(times)
    measured = [
        {
            "task": task,
            "way": way,
            "clips/s": n_clips / seconds[way],
            "this s / asc_jax s": seconds[way] / seconds["asc_jax"],
            "largest difference": float(
                max(
                    np.abs(_host(clip) - expected).max()
                    for clip, expected in zip(call(), reference, strict=True)
                )
            ),
            "seconds": times[way],
        }
        for way, call in calls.items()
    ]
    missing = [{"task": task, "way": way, "clips/s": reason} for way, reason in absent.items()]
    return measured + missing


def _host(clip) -> np.ndarray:
    """An array, or a tensor of PyTorch's on any device."""
    return np.asarray(clip.cpu() if hasattr(clip, "cpu") else clip)


def _librosa():
    """waveform (T,) -> (N, M) with librosa, or None where it is not installed."""
    try:
        import librosa
    except ImportError:
        return None

    def compute(waveform):
        mel = librosa.feature.melspectrogram(
            y=waveform,
            sr=CONFIG.sr,
            n_fft=CONFIG.n_fft,
            win_length=CONFIG.win_length,
            hop_length=CONFIG.hop_length,
            window=CONFIG.window,
            center=CONFIG.center,
            pad_mode=CONFIG.pad_mode,
            power=CONFIG.power,
            n_mels=CONFIG.n_mels,
            fmin=CONFIG.fmin,
            fmax=CONFIG.highest,
            htk=CONFIG.htk,
            norm=CONFIG.norm,
        )
        return np.log(mel.T + CONFIG.log_floor)

    return compute


def _torch(waveforms: np.ndarray, device: str):
    """A function that computes all log-mels (B, N, M) with PyTorch."""
    import torch

    torch.set_num_threads(os.cpu_count() or 1)
    samples = torch.tensor(waveforms, device=device)
    filters = torch.tensor(mel_filterbank(CONFIG), device=device)
    window = torch.hamming_window(CONFIG.win_length, device=device)  # periodic, 0.54

    def compute():
        spectrum = torch.stft(
            samples,
            CONFIG.n_fft,
            CONFIG.hop_length,
            CONFIG.win_length,
            window,
            center=CONFIG.center,
            pad_mode=CONFIG.pad_mode,
            return_complex=True,
        )
        out = torch.log(spectrum.abs().transpose(1, 2) @ filters + CONFIG.log_floor)
        if device == "cuda":
            torch.cuda.synchronize()
        return out

    return compute
