"""The page that asks for recordings."""

from asc_jax.data.class_folders import READABLE
from asc_jax.frontend import FrontendConfig
from asc_jax.inference.model import TrainedModel
from asc_jax.report.rendering import render
from asc_jax.serve.listener import Listener

_PICTURES = {"log_mel": "Log-mel", "log10_mel": "Log-mel (decibels)", "mel": "Mel", "pcen": "PCEN"}


def make_page(listener: Listener, name: str, *, n_bytes: int) -> str:
    """Makes the page.

    Args:
      listener: that answers.
      name: of its model.
      n_bytes: the largest recording.
    """
    model, frontend, n_folds = listener.model, listener.frontend, len(listener.systems) - 1
    origin = [
        name,
        f"ensemble of {n_folds} folds" if n_folds else "",
        f"windows of {model.n_samples / model.sr:g} s",
    ]
    return render(
        "serve.html",
        title="What is this recording?",
        origin=origin,
        labels=model.labels,
        about=model.card.get("about"),
        endings=READABLE,
        largest=n_bytes,
        picture=_describe(listener),
        top=f"{frontend.highest / 1000:g} kHz" if isinstance(frontend, FrontendConfig) else "",
    )


def _describe(listener: Listener) -> str:
    """What the picture shows."""
    frontend = listener.frontend
    if not isinstance(frontend, FrontendConfig):
        return f"From the run's own frontend, {frontend.name}"
    kind = f"{_PICTURES[frontend.name]} spectrogram, {frontend.n_mels} bands"
    if isinstance(listener.model, TrainedModel):
        return f"{kind}, from the run's frontend"
    return f"{kind}, from the default frontend; the exported file may use another"
