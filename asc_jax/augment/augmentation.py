"""The augmentations of training examples, by the fields of a config's `augment` group."""

import dataclasses

# The fields of `Augmentation` that apply to waveforms.
WAVEFORM_FIELDS = ("time_scale", "between_class", "impulse_p", "noise_level", "gain_db")

# Those that apply to log-mels before standardisation.
BAND_FIELDS = ("freq_mixstyle_p", "filter_db")


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Holds the augmentations of the training step; by default all are off.

    They are applied in the order of the attributes: those up to `gain_db` to the waveform,
    `freq_mixstyle_p` and `filter_db` to the log-mel, and the others to the standardised log-mel.

    Attributes:
      time_scale: largest factor by which a waveform is played faster or slower; 0 for none.
      between_class: mix waveforms of two examples, see `between_class`.
      impulse_responses: folder of the impulse responses of devices.
      impulse_p: probability that a waveform is convolved with one of them.
      noise_level: largest RMS of white noise, relative to that of the waveform.
      gain_db: largest change of a waveform's level, up or down, dB.
      freq_mixstyle_p: probability that the mean and standard deviation of each mel band are mixed
        with those of another example.
      freq_mixstyle_alpha: parameter of the Beta distribution of the mixing ratio.
      filter_db: largest boost or cut of mel bands by a random filter, dB.
      time_roll: largest circular shift along time, as a fraction of the clip.
      mixup_alpha: parameter of the Beta distribution of mixup's ratio; 0 for no mixup.
      time_masks: number of time masks.
      time_mask_frames: longest time mask, frames.
      mel_masks: number of mel masks.
      mel_mask_bands: widest mel mask, bands.
    """

    time_scale: float = 0.0
    between_class: bool = False
    impulse_responses: str = ""
    impulse_p: float = 0.0
    noise_level: float = 0.0
    gain_db: float = 0.0
    freq_mixstyle_p: float = 0.0
    freq_mixstyle_alpha: float = 0.4
    filter_db: float = 0.0
    time_roll: float = 0.0
    mixup_alpha: float = 0.0
    time_masks: int = 0
    time_mask_frames: int = 0
    mel_masks: int = 0
    mel_mask_bands: int = 0
