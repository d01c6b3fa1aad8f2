"""Every field, with its unit and where its value comes from. The rows override a few.

"paper §..." is the technical report; "paper silent" marks a choice of ours.
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
    config = ml_collections.ConfigDict()
    config.title = ""  # of the report page
    config.seed = 0  # initial values, batches, augmentation

    config.data = data = ml_collections.ConfigDict()
    data.root = ""  # folder of the development set; must be given
    data.leaderboard_root = ""  # folder of the leaderboard set, for its submission; "" for none
    data.evaluation_root = ""  # folder of the evaluation set, for its submission; "" for none
    data.clip_seconds = 10.0  # s; paper §3
    data.n_frames = 500  # log-mel frames kept of 501; the DCASE baseline's; 0 for all
    data.channels = 2  # channels of every file; paper §4.1; 0 for any
    data.fit_length = False  # cut or zero-fill clips of another length instead of refusing them
    data.trim_silence = False  # leave out what is below -80 dB at both ends; needs fit_length
    # What log-mels are standardised by: "band": each mel band over the fold's training frames (the
    # DCASE baseline's); "global": all bands together; "clip": each clip by itself; "none": nothing.
    data.normalisation = "band"  # paper silent
    data.pool = "log_mel"  # what a clip is to the step; "waveform" runs the frontend in it
    # Where the clips are while a run goes on; no effect on results. "device": all of them on every
    # device; "sharded": each on one device; "host": in the cache, read ahead of the steps; "auto":
    # the first of these for which half of the devices' free memory is enough.
    data.placement = "auto"
    data.cache_dir = ""  # decoded data; "" for the user's cache folder
    data.workers = 0  # decoding threads; 0 for one per core

    config.frontend = frontend = ml_collections.ConfigDict()
    # "log_mel", "log10_mel" (decibels), "pcen", "mel" (needs data.pool="waveform"), or your own.
    frontend.name = "log_mel"  # paper §2.1
    frontend.sr = 48_000  # Hz; paper §2.1
    frontend.n_fft = 2048  # samples; paper §2.1
    frontend.win_length = 1920  # samples, 40 ms; paper §2.1
    frontend.hop_length = 960  # samples, 20 ms; paper §2.1
    frontend.n_mels = 40  # bands; paper §2.1
    frontend.fmin = 0.0  # Hz; paper silent; the DCASE baseline's, as all that follow here
    frontend.fmax = 0.0  # Hz; 0 means sr / 2
    frontend.window = "hamming"
    frontend.power = 1.0  # magnitudes
    frontend.htk = False
    frontend.norm = "slaney"
    frontend.center = True
    frontend.pad_mode = "constant"  # librosa 0.9 and later; "reflect" before it
    frontend.log_floor = 2.2e-16  # added before the logarithm
    frontend.pcen_seconds = 0.4  # of "pcen": smoothed over; librosa's, as the next three
    frontend.pcen_gain = 0.98
    frontend.pcen_bias = 2.0
    frontend.pcen_power = 0.5

    config.folds = folds = ml_collections.ConfigDict()
    # "location": paper silent; no location is on both sides of a fold. "published": the data
    # set's own. "random": only to see how much scores flatter where locations are. "all": a final
    # model, of which each fold trains on all clips but test and inner ones, and none can score it.
    folds.kind = "location"
    # 0: all that are published, or up to 4, as many as each class has locations for.
    folds.n_folds = 4  # paper §2.5
    folds.seed = 0  # of the assignment of locations
    folds.test_fold = 0  # published fold whose evaluate part tests the ensemble; 0 for none
    folds.inner_fraction = 0.0  # of the training locations, to choose the epoch on

    config.synthetic = synthetic = ml_collections.ConfigDict()  # clips that a GAN has generated
    synthetic.root = ""  # folder of manifest.jsonl and audio/; "" for none
    synthetic.share = 0.0  # of a fold's training examples; 0 for each clip once in a pass
    synthetic.per_class = 0  # clips per class and fold at most, the manifest's first; 0 for all
    # Hz; mel bands from there on are 0 in every clip, generated or not, trained on or scored.
    synthetic.mask_above = 0.0  # 0 for no mask

    config.model = ml_collections.ConfigDict()  # each row's own

    config.optimizer = optimizer = ml_collections.ConfigDict()
    # "adam" or "adamw" (one and the same: weight decay is always decoupled), "nadam", "radam",
    # "lamb", "lion", "rmsprop", "sgd" (Nesterov's), or one of your own.
    optimizer.name = "adam"  # paper §4.2
    optimizer.momentum = 0.9  # of "sgd"
    optimizer.lr = 1e-3  # peak; paper silent; Adam's customary value
    # "constant", "cosine" (decays to 0, so that the last epoch is it), "linear", "one_cycle",
    # "steps" (falls at `drops`), or one of your own.
    optimizer.schedule = "cosine"  # paper silent
    optimizer.drops = ()  # of "steps": shares of the run after which the rate falls, as (0.5, 0.75)
    optimizer.drop_factor = 0.1  # that it is then multiplied by
    # Share of the run in which the learning rate rises from 0 to the schedule's; paper silent.
    optimizer.warmup = 0.0
    optimizer.weight_decay = 0.0  # per step and unit of lr, kernels only; paper silent
    optimizer.clip_norm = 0.0  # largest global gradient norm; paper silent; 0 for no clipping

    config.train = train = ml_collections.ConfigDict()
    train.epochs = 60  # paper silent
    # A trained run whose weights of equal shape are begun with: each fold's of a model that has
    # heard nothing of what the fold is scored on. "" for initial values.
    train.init_from = ""
    train.batch_size = 32  # clips per step and fold; paper silent
    # Parts of a batch, one after the other: less memory; each is normalised by its own clips.
    train.accumulate = 1
    # Of maps, gradients and products; parameters, statistics, sums, loss and frontend are float32.
    # "bfloat16"; "float32"; "tensorfloat32", which multiplies float32 faster and less exactly on a
    # GPU or TPU; "auto": "bfloat16" there and "float32" on a CPU, named where the run begins.
    train.precision = "auto"
    # Devices along folds and along a batch, as (4, 2), or () for all that folds and batches
    # divide among; no effect on results but for rounding, if batch normalisation is synchronised.
    train.mesh = ()
    # Batch normalisation by the whole batch, however it is sharded; False for each shard by its
    # own clips: less communication, and other results on another mesh.
    train.sync_batch_norm = True
    # A loss or gradient that is not finite: "stop" ends the run, naming the fold and the step;
    # "skip" leaves out that fold's update, counts it, and goes on while a fold is left.
    train.non_finite = "stop"
    # s; of each clip, at another place in each epoch, and always of what was recorded; needs
    # data.pool="waveform", and takes all frames. 0 for whole clips.
    train.crop_seconds = 0.0  # paper: none
    train.loss = "cross_entropy"  # paper §4.2; or one of your own
    # Of the loss: "balanced" as if each class had as many clips in the fold's training part.
    train.class_weights = "none"  # paper: none
    train.label_smoothing = 0.0  # paper silent
    # Of the weights over steps; where there is one, that network is validated, chosen and scored,
    # with statistics of its own (docs/training.md). "ema": exponential; "swa": equal weights.
    train.average = "none"  # paper: none
    train.ema_decay = 0.999  # of "ema": per step, with its bias corrected
    train.average_after = 0.75  # of "swa": share of the run after which steps are averaged
    train.selection = "last"  # which epoch is scored; "inner": the best on inner clips
    train.select_after = 0  # epochs; the first that "inner" may choose comes after
    # Epochs from one validation and checkpoint to the next. The last one has both in any case. On
    # a GPU or TPU the steps of those between are as few dispatches as they can be.
    train.validate_every = 1
    # Steps per dispatch, a lax.scan; no effect on results. 0: up to 32 on a GPU or TPU that holds
    # all clips, 8 of several processes; else one. A signal is heard between two dispatches.
    train.steps_per_call = 0
    train.save_every = 0  # steps between further checkpoints; 0: none but of train.validate_every
    train.keep_checkpoints = 2  # newest kept on disk
    train.writers = ()  # of curves, beside metrics.csv: "tensorboard", "wandb"

    config.augment = augment = ml_collections.ConfigDict()  # paper: none of these; all off
    augment.name = "standard"  # or one of your own
    # Of waveforms, so with data.pool="waveform", as all to gain_db: the largest factor of speed.
    augment.time_scale = 0.0  # 0 for none
    augment.between_class = False  # mixtures of two waveforms as loud as each other, as one says
    augment.impulse_responses = ""  # folder of audio files, of devices; "" for none
    augment.impulse_p = 0.0  # probability that a waveform is convolved with one of them
    augment.noise_level = 0.0  # of white noise, RMS: the largest, of the waveform's; 0.1 is -20 dB
    augment.gain_db = 0.0  # largest change of the level, up or down
    # Probability that each mel band's mean and deviation are mixed with another example's.
    augment.freq_mixstyle_p = 0.0
    augment.freq_mixstyle_alpha = 0.4  # of Beta(alpha, alpha), the weight of that
    augment.filter_db = 0.0  # largest boost or cut of mel bands, by a random filter
    augment.mixup_alpha = 0.0  # of Beta(alpha, alpha)
    augment.time_roll = 0.0  # largest circular shift, fraction of the clip
    augment.time_masks = 0  # number
    augment.time_mask_frames = 0  # longest, frames
    augment.mel_masks = 0  # number
    augment.mel_mask_bands = 0  # widest, bands

    config.distillation = distillation = ml_collections.ConfigDict()  # paper: none
    # An evaluated run whose logits share in the targets, each clip's of the model that held it out;
    # none of these may have heard what is scored here. "" for none.
    distillation.run = ""
    distillation.weight = 0.5  # the teacher's share of a target; the label has the rest
    distillation.temperature = 2.0  # that the teacher's logits are divided by

    config.ensemble = ensemble = ml_collections.ConfigDict()
    # s; from one window of train.crop_seconds to the next, whose probabilities are averaged to
    # score a clip; 0 for windows that follow one another.
    ensemble.hop_seconds = 0.0
    ensemble.rule = "mean_logits"  # paper §2.5: "linearly combined"; or "mean_probabilities"
    ensemble.decision = "argmax"  # or "threshold", the DCASE baseline's
    return config
