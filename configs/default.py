"""All fields, with their units and the sources of their values. The other configs change a few.

A comment gives unit and meaning above the field, or else beside it before the first semicolon. The
rest of what is beside a field is about that value alone, and no config with another value shows it.
"paper §..." is a section of the technical report; "paper silent" marks a choice of ours.
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
    config = ml_collections.ConfigDict()
    config.title = ""  # title of the report page
    config.seed = 0  # for initial values, batches, augmentation

    config.data = data = ml_collections.ConfigDict()
    data.root = ""  # folder of the development set; must be given
    data.leaderboard_root = ""  # folder of the leaderboard set, for its submission ("" for none)
    data.evaluation_root = ""  # folder of the evaluation set, for its submission ("" for none)
    data.clip_seconds = 10.0  # s; paper §3
    data.n_frames = 500  # log-mel frames kept (0 for all); of 501, as the DCASE baseline
    data.channels = 2  # channels of every file (0 for any); paper §4.1
    data.fit_length = False  # cut or zero-fill clips of another length instead of refusing them
    data.trim_silence = False  # with fit_length: cut silence (below -80 dB) at both ends
    # How log-mels are standardised. "band": each mel band over the fold's training frames, as in
    # the DCASE baseline; "global": all bands together; "clip": each clip by itself; "none".
    data.normalisation = "band"  # paper silent
    # Stored clips. "log_mel"; "waveform": the frontend then runs in the training step.
    data.pool = "log_mel"
    # Where the clips are stored during training; no effect on results. "device": all on every
    # device; "sharded": each on one device; "host": in the cache, read in advance; "auto": the
    # first of these for which half of the devices' free memory is enough.
    data.placement = "auto"
    data.cache_dir = ""  # decoded data ("" for the user's cache folder)
    data.workers = 0  # decoding threads (0 for one per core)

    config.frontend = frontend = ml_collections.ConfigDict()
    # "log_mel", "log10_mel" (decibels), "pcen", "mel" (needs data.pool="waveform"), or your own.
    frontend.name = "log_mel"  # paper §2.1
    frontend.sr = 48_000  # Hz; paper §2.1
    frontend.n_fft = 2048  # samples; paper §2.1
    frontend.win_length = 1920  # samples; 40 ms, paper §2.1
    frontend.hop_length = 960  # samples; 20 ms, paper §2.1
    frontend.n_mels = 40  # bands; paper §2.1
    frontend.fmin = 0.0  # Hz; paper silent, DCASE baseline's
    frontend.fmax = 0.0  # Hz (0 for sr / 2); DCASE baseline's
    frontend.window = "hamming"  # "hamming" or "hann"; DCASE baseline's
    frontend.power = 1.0  # 1 for magnitudes, 2 for their squares; DCASE baseline's
    frontend.htk = False  # HTK's mel scale, not Slaney's; DCASE baseline's
    frontend.norm = "slaney"  # bands of unit area, or "none": of unit peak; DCASE baseline's
    frontend.center = True  # frame t is centred on sample t * hop_length; DCASE baseline's
    frontend.pad_mode = "constant"  # zeros at both ends, or "reflect"; librosa's from 0.9 on
    frontend.log_floor = 2.2e-16  # added before the logarithm; DCASE baseline's
    frontend.pcen_seconds = 0.4  # s, smoothing time of "pcen"; librosa's
    frontend.pcen_gain = 0.98  # exponent of the smoothed energy; librosa's
    frontend.pcen_bias = 2.0  # added before the compression; librosa's
    frontend.pcen_power = 0.5  # exponent of the compression; librosa's

    config.folds = folds = ml_collections.ConfigDict()
    # "location": no location is on both sides of a fold. "published": the folds of the data set.
    # "random": ignores locations, to measure how much this raises the score. "all": final models;
    # each is trained on all clips except test and inner ones, so none has a score.
    folds.kind = "location"  # paper silent
    # 0: all published folds, or else up to 4, as many as the locations of each class allow.
    folds.n_folds = 4  # paper §2.5
    folds.seed = 0  # for the assignment of locations
    folds.test_fold = 0  # published fold whose evaluate part tests the ensemble (0 for none)
    folds.inner_fraction = 0.0  # share of the training locations set aside to choose the epoch

    config.synthetic = synthetic = ml_collections.ConfigDict()  # generated clips
    synthetic.root = ""  # folder with manifest.jsonl and audio/ ("" for none)
    synthetic.share = 0.0  # share of a fold's training examples (0: each clip once per epoch)
    synthetic.per_class = 0  # most clips per class and fold, first in the manifest (0 for all)
    # Hz; mel bands above this are 0 in every clip, recorded and generated, also in scoring.
    # 0 for no mask.
    synthetic.mask_above = 0.0

    config.model = ml_collections.ConfigDict()  # set by each network's config

    config.optimizer = optimizer = ml_collections.ConfigDict()
    # "adam" or "adamw" (the same here: weight decay is always decoupled), "nadam", "radam", "lamb",
    # "lion", "rmsprop", "sgd" (with Nesterov momentum), or your own.
    optimizer.name = "adam"  # paper §4.2
    optimizer.momentum = 0.9  # for "sgd"
    optimizer.lr = 1e-3  # peak; paper silent: Adam's customary value
    # "constant", "cosine" (decays to 0 at the last epoch), "linear", "one_cycle",
    # "steps" (falls at `drops`), or your own.
    optimizer.schedule = "cosine"  # paper silent
    optimizer.drops = ()  # for "steps": shares of the run after which lr drops, as (0.5, 0.75)
    optimizer.drop_factor = 0.1  # factor of each drop
    # Share of the run in which the learning rate rises linearly from 0 to its peak.
    optimizer.warmup = 0.0  # paper silent
    optimizer.weight_decay = 0.0  # per step and unit of lr, kernels only; paper silent
    optimizer.clip_norm = 0.0  # largest global gradient norm (0 for no clipping); paper silent

    config.train = train = ml_collections.ConfigDict()
    train.epochs = 60  # passes over a fold's training clips; paper silent
    # Run folder whose weights each fold starts from, wherever shapes are equal: those of a model
    # that was not trained on what the fold is scored on. "" for initial values.
    train.init_from = ""
    train.batch_size = 32  # clips per step and fold; paper silent
    # Number of parts in which a batch is computed: less memory; each is normalised by itself.
    train.accumulate = 1
    # Of feature maps, gradients and products; parameters, statistics, sums, loss and frontend are
    # float32. "bfloat16"; "float32"; "tensorfloat32": float32 with faster, less exact products on a
    # GPU or TPU; "auto": at the first start "bfloat16" on a GPU or TPU, "float32" on a CPU.
    train.precision = "auto"
    # Devices along folds and along a batch, as (4, 2); () for the largest mesh that fits. Affects
    # results only by rounding, if batch normalisation is synchronised.
    train.mesh = ()
    # Batch normalisation over the whole batch, however it is sharded. False: over each shard, which
    # needs less communication, but results depend on the mesh.
    train.sync_batch_norm = True
    # A loss or gradient that is not finite: "stop" ends the run, naming the fold and the step;
    # "skip" leaves out that fold's update, counts it, and continues while a fold is left.
    train.non_finite = "stop"
    # s; length of the crop of a clip that is trained on, drawn anew in each epoch from the recorded
    # part; needs data.pool="waveform", and data.n_frames has no effect. 0 for whole clips.
    train.crop_seconds = 0.0  # paper: none
    train.loss = "cross_entropy"  # "cross_entropy" or your own; paper §4.2
    # Of the loss; "balanced": as if all classes had the same number of training clips in the fold.
    train.class_weights = "none"  # paper: none
    train.label_smoothing = 0.0  # share of a target, spread over all classes; paper silent
    # Average of the network's weights over steps, which is then validated, selected and scored
    # (docs/training.md). "ema": exponential; "swa": equal; "none".
    train.average = "none"  # paper: none
    train.ema_decay = 0.999  # for "ema": per step, with bias correction
    train.average_after = 0.75  # for "swa": share of the run after which steps are averaged
    train.selection = "last"  # epoch that is scored: "last", or "inner", the best on inner clips
    train.select_after = 0  # "inner" chooses among the epochs after this one
    # Epochs from one validation and checkpoint to the next; the last epoch always has both. On
    # a GPU or TPU the steps between them are as few dispatches as possible.
    train.validate_every = 1
    # Steps per dispatch, a lax.scan; no effect on results. 0: up to 32 on a GPU or TPU that holds
    # all clips, 8 with several processes, else 1. Signals are handled between two dispatches.
    train.steps_per_call = 0
    train.save_every = 0  # steps between additional checkpoints (0: only by train.validate_every)
    train.keep_checkpoints = 2  # number of the newest kept on disk
    train.writers = ()  # for curves, besides metrics.csv: "tensorboard", "wandb"

    config.augment = augment = ml_collections.ConfigDict()  # paper: none of these; all off
    augment.name = "standard"  # "standard" or your own
    # Largest change of speed, as a factor. This and the next five need data.pool="waveform".
    # 0 for none.
    augment.time_scale = 0.0
    augment.between_class = False  # mix waveforms of two classes in a random ratio of levels
    augment.impulse_responses = ""  # folder of devices' impulse responses ("" for none)
    augment.impulse_p = 0.0  # probability that a waveform is convolved with one of them
    augment.noise_level = 0.0  # largest RMS of white noise, relative to the waveform (0.1: -20 dB)
    augment.gain_db = 0.0  # dB, largest change of the level, up or down
    # Probability that the mean and standard deviation of each mel band are mixed with another's.
    augment.freq_mixstyle_p = 0.0
    augment.freq_mixstyle_alpha = 0.4  # of Beta(alpha, alpha), from which the ratio is drawn
    augment.filter_db = 0.0  # dB, largest boost or cut of mel bands by a random filter
    augment.mixup_alpha = 0.0  # of Beta(alpha, alpha) (0 for no mixup)
    augment.time_roll = 0.0  # largest circular shift, as a share of the clip
    augment.time_masks = 0  # number of masks
    augment.time_mask_frames = 0  # frames of the longest
    augment.mel_masks = 0  # number of masks
    augment.mel_mask_bands = 0  # bands of the widest

    config.distillation = distillation = ml_collections.ConfigDict()  # paper: none
    # Evaluated run whose logits are part of the targets; for each clip, those of the model that
    # held it out. No such model may have been trained on what is scored here. "" for none.
    distillation.run = ""
    distillation.weight = 0.5  # share of the teacher in a target (the rest is the label)
    distillation.temperature = 2.0  # divides the teacher's logits

    config.ensemble = ensemble = ml_collections.ConfigDict()
    # s; from one window of train.crop_seconds to the next. The probabilities of the windows are
    # averaged to score a clip. 0 for windows without overlap.
    ensemble.hop_seconds = 0.0
    # "mean_logits" or "mean_probabilities".
    ensemble.rule = "mean_logits"  # paper §2.5: "linearly combined"
    ensemble.decision = "argmax"  # "argmax", or "threshold" as the DCASE baseline
    return config
