"""The paper's Table 4: its rows as published, and what the paper leaves open about each."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Question:
    """Something that the paper leaves open.

    Attributes:
      point: what it is about.
      report: what the paper says of it.
      default: what is done here unless a config says otherwise.
      instead: what a config can also say.
      fields: of a config, that say what a run does.
    """

    point: str
    report: str
    default: str
    instead: str
    fields: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
      title: the paper's name for it.
      config: its file, without folder and ".py".
      published: class-wise accuracy, percent, on half of the leaderboard set.
      open: what its score depends on and the paper leaves open.
      augmented: whether it trains on generated clips as well.
    """

    title: str
    config: str
    published: float
    open: tuple[Question, ...]
    augmented: bool = False


RECORD = "reproduce.json"  # what makes a folder a reproduction's; its report.html is the table

N_PUBLISHED = 600  # clips that the published scores are of

PROTOCOL = Question(
    "protocol of the baseline",
    "the training subset of 6,122 clips, no ensemble",
    "the official one: published fold 1, its epoch chosen on 30 % of the training part",
    "`folds.*`, `train.selection`, `ensemble.decision`",
    ("folds.kind", "folds.inner_fraction", "train.selection", "ensemble.decision"),
)
FRONTEND = Question(
    "STFT window, power, mel scale",
    "unstated",
    "the DCASE 2018 baseline's",
    "`frontend.*`",
    ("frontend.window", "frontend.power", "frontend.htk", "frontend.norm"),
)
NORMALISATION = Question(
    "normalisation of the input",
    "unstated",
    "per mel band, over the fold's training frames",
    '`data.normalisation="global"`, `"clip"`, `"none"`',
    ("data.normalisation",),
)
NETWORK = (
    Question(
        "block",
        "two 3x3 convolutions, although the names say 50 and 152",
        '`model.block="basic"`, as printed',
        '`"bottleneck"`',
        ("model.block", "model.stage_sizes"),
    ),
    Question(
        "strides of stages 2 to 4",
        '"unless otherwise noted, the stride is 1"',
        "2 at each stage's first block: 1.37 GMACs",
        "`model.stage_strides=(1,1,1,1)`, as printed: 18.1 GMACs",
        ("model.stage_strides",),
    ),
    Question(
        "shortcut where the shape changes",
        "unstated",
        '`model.shortcut="projection"`',
        '`"zero_pad"`',
        ("model.shortcut",),
    ),
    Question(
        "order in a block",
        "unstated",
        '`model.order="post_activation"`',
        '`"pre_activation"`',
        ("model.order",),
    ),
    Question(
        "receptive field",
        "897 and 2945 frames: longer than the clip",
        "as printed",
        "`model.max_receptive_field`",
        ("model.max_receptive_field",),
    ),
    Question(
        "dropout",
        "unstated",
        "none in the residual networks",
        "`model.dropout_rate`, before the last layer",
        ("model.dropout_rate",),
    ),
)
TRAINING = (
    Question(
        "folds",
        '"4 folds", then "the nine remaining folds"',
        "4 folds by location, balanced by class",
        "`folds.kind`, `folds.n_folds`",
        ("folds.kind", "folds.n_folds"),
    ),
    Question(
        "ensemble",
        '"linearly combined"',
        "mean of logits; the mean of probabilities is reported too",
        "`ensemble.rule`; weights of runs, not of folds: `asc-jax report --ensemble=weighted`",
        ("ensemble.rule",),
    ),
    Question(
        "learning rate, batch, epochs, schedule",
        '"Adam", cross-entropy',
        "1e-3 with cosine decay, 32, 60",
        "`optimizer.*`, `train.*`",
        ("optimizer.lr", "optimizer.schedule", "train.batch_size", "train.epochs"),
    ),
)
SQUEEZE = Question(
    "squeeze ratio", "unstated", "`model.se_ratio=16`", "any; 0 for none", ("model.se_ratio",)
)
GAN = (
    Question(
        "GANs",
        "WaveGAN, its loss, d, steps and conditioning unstated",
        "one per scene, WGAN-GP, d = 64: `configs/wavegan.py`",
        "`gan.loss`, `gan.dim`, `gan.conditional`, `gan.upsample`",
        ("gan.loss", "gan.dim", "gan.conditional", "train.epochs", "train.steps_per_epoch"),
    ),
    Question(
        "what a GAN learns from",
        "unstated",
        "the fold's training clips, without some locations that are kept for comparison",
        "`gan.fold`, `gan.unseen_fraction`",
        ("gan.unseen_fraction",),
    ),
    Question(
        "screening",
        '"correctly classified", by "either an ResNet- or an SE-ResNet-based classifier"',
        '`synthesis.rules=("argmax",)`, by the fold\'s own classifier, an SE-ResNet',
        '`"confidence"`, `"margin_band"`; `synthesis.classifier`, of the same folds',
        ("synthesis.rules", "synthesis.classifier"),
    ),
    Question(
        "1,728 waves",
        "not equal per class",
        "432 per fold, the same number for each class as far as possible",
        "`synthesis.n_clips`",
        ("synthesis.n_clips",),
    ),
    Question(
        "five segments to 10 s",
        "10.24 s; how is unstated",
        "joined end to end, then cut",
        '`synthesis.merge="crossfade"`',
        ("synthesis.merge",),
    ),
    Question(
        "nothing above 8 kHz in a generated clip",
        'up-sampled "could be less accurate"',
        "left so; `synthesize` prints how well this alone identifies generated clips",
        '`frontend.fmax`, `synthetic.mask_above`, `synthesis.high_band="splice"`',
        ("frontend.fmax", "synthetic.mask_above", "synthesis.high_band"),
    ),
)

_RESNET = (*NETWORK, *TRAINING, FRONTEND, NORMALISATION)
_SE = (SQUEEZE, *_RESNET)

# The classifier that evaluates the GANs of the last row and screens their clips.
SCREENED_BY = "se_resnet152"
ROWS = (
    Row("Baseline", "baseline", 62.50, (PROTOCOL, FRONTEND, NORMALISATION)),
    Row("ResNet(50)-rev", "resnet50", 69.83, _RESNET),
    Row("ResNet(152)-rev", "resnet152", 70.33, _RESNET),
    Row("SE-ResNet(152)-rev", SCREENED_BY, 71.12, _SE),
    Row("SE-ResNet(152)-rev*", "se_resnet152_mel80", 72.50, _SE),
    Row("SE-ResNet(152)-rev-aug", "se_resnet152_aug", 70.50, (*GAN, *_SE), augmented=True),
)


def questions() -> tuple[Question, ...]:
    """All that the paper leaves open, each once."""
    return tuple(dict.fromkeys(question for row in ROWS for question in row.open))
