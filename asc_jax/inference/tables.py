"""What a model says of recordings, as text for a terminal and as files."""

import csv
import functools
import io
import json
import pathlib
import sys
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from asc_jax.inference.asking import Prediction, label_of
from asc_jax.inference.windows import SILENT
from asc_jax.runtime.errors import InputError, visible
from asc_jax.runtime.files import write_whole

STDOUT = pathlib.Path("-")

Answers = Mapping[str, Prediction]  # by the recordings' names


def refuse_overwriting(
    csv: pathlib.Path | None, json: pathlib.Path | None, places: Sequence[str], model: pathlib.Path
) -> None:
    """Refuses tables that would take the place of each other, of a recording or of the model.

    Args:
      csv: where a table goes, if anywhere, as the next.
      json: the other one.
      places: the recordings.
      model: a run folder or a file.

    Raises:
      InputError: naming the flag.
    """
    kept = {pathlib.Path(place).resolve() for place in places}
    for flag, path in (("--csv", csv), ("--json", json)):
        if path in (None, STDOUT):
            continue
        path = path.resolve()
        if not path.parent.is_dir():
            raise InputError(
                "its folder does not exist; correct the name", field=flag, value=str(path)
            )
        if path in kept or path.is_relative_to(model.resolve()):
            raise InputError(
                "would overwrite a recording, the other table or the model; name another file",
                field=flag,
                value=str(path),
            )
        kept.add(path)


def tell(
    said: Iterable[tuple[str, Prediction | InputError]],
    n_places: int,
    *,
    top: int,
    windows: bool,
    csv: pathlib.Path | None,
    json: pathlib.Path | None,
    form: str | None,
    about: Mapping[str, str] | None,
) -> None:
    """Prints what a model says of recordings, as it comes, and writes it into tables at the end.

    A stop, a bad recording or a table that cannot be written costs no other answers.

    Args:
      said: from `Recogniser.predict_all`.
      n_places: recordings.
      top: classes that are shown.
      windows: also print each window of a recording that has several.
      csv: where a table goes, if anywhere, as the next.
      json: the other one.
      form: of a submission, see `as_submission`, that is printed instead, at the end; as a table
        is whose place is `STDOUT`.
      about: of the model, see `as_json`.

    Raises:
      InputError: at the end, a line for each recording or table with something wrong.
    """
    answers, bad, shown = {}, [], not (form or STDOUT in (csv, json))
    try:
        for name, one in said:
            if isinstance(one, InputError):
                bad.append(str(one))
                continue
            if shown:
                print(render(name, one, top=top, windows=windows), flush=True)
            answers[name] = one
    finally:
        to_json = functools.partial(as_json, about=about)
        for path, table in ((csv, as_csv), (json, to_json)):
            if path == STDOUT and answers:
                print(table(answers), end="")
            elif path and answers:
                try:
                    write_whole(path, table(answers))
                    print(f"{path}: {len(answers)} of {n_places} recordings", file=sys.stderr)
                except InputError as error:
                    bad.append(str(error))
    if n_filled := sum(any("filled" in note for note in one.notes) for one in answers.values()):
        print(
            f"{n_filled} of {n_places} recordings are shorter than a window and were filled "
            "with zeros, so their predictions are unreliable; for a run folder a shorter "
            "--window=SECONDS helps",
            file=sys.stderr,
        )
    if form:
        try:
            print(as_submission(answers, form), end="")
        except InputError as error:
            bad.append(str(error))
    if bad:
        raise InputError("\n".join(bad))


def render(name: str, said: Prediction, *, top: int, windows: bool) -> str:
    """Writes a line for the recording, after one for each of its windows if they are asked for."""
    lines = []
    if windows and len(said.times) > 1:
        for (start, end), row, note in zip(said.times, said.probabilities, said.notes, strict=True):
            lines.append(
                f"  {_clock(start)} to {_clock(end)}  {_line(said.labels, row, note, top)}"
            )
    line = f"{visible(name)}: {_line(said.labels, said.mean, said.note, top)}"
    return "\n".join([*lines, line])


def _line(labels: Sequence[str], row: np.ndarray, note: str, top: int) -> str:
    """The likeliest classes and the note; of silence there is nothing else to say."""
    if note == SILENT:
        return note
    best = np.argsort(-row, kind="stable")[:top]
    classes = ", ".join(f"{labels[i]} {row[i]:.1%}" for i in best)
    return classes + (f" ({note})" if note else "")


def as_csv(answers: Answers) -> str:
    """A row for each window, and one for the whole of each recording, with all probabilities.

    The label of silence is empty.
    """
    content = io.StringIO()
    writer = csv.writer(content, lineterminator="\n")
    labels = next(iter(answers.values())).labels
    writer.writerow(["path", "part", "start", "end", "note", "label", *labels])
    for name, said in answers.items():
        parts = zip(said.times, said.probabilities, said.notes, strict=True)
        parts = [("window", *part) for part in parts]
        whole = np.array([0.0, said.times[:, 1].max()])
        for kind, (start, end), row, note in (*parts, ("whole", whole, said.mean, said.note)):
            label = label_of(labels, row, note)
            numbers = [f"{p:.6f}" for p in row]
            writer.writerow([name, kind, f"{start:.3f}", f"{end:.3f}", note, label, *numbers])
    return content.getvalue()


def as_json(answers: Answers, about: Mapping[str, str] | None = None) -> str:
    """A list of recordings: path, label, probabilities by label, and the same of each window.

    The label of silence is null.

    Args:
      answers: of the recordings.
      about: what people say of the model (`card.FIELDS`), which each has as `model`, if anything.
    """
    model = {"model": dict(about)} if about else {}
    listed = []
    for name, said in answers.items():
        of = lambda row, note, labels=said.labels: {
            "note": note,
            "label": label_of(labels, row, note),
            "probabilities": {
                label: round(float(p), 6) for label, p in zip(labels, row, strict=True)
            },
        }
        windows = [
            {"start": round(float(start), 3), "end": round(float(end), 3)} | of(row, note)
            for (start, end), row, note in zip(
                said.times, said.probabilities, said.notes, strict=True
            )
        ]
        listed.append({"path": name} | of(said.mean, said.note) | {"windows": windows} | model)
    return json.dumps(listed, indent=1, ensure_ascii=False) + "\n"


def as_submission(answers: Answers, form: str) -> str:
    """The answers as a challenge takes them.

    Args:
      answers: of the recordings of a set.
      form: "leaderboard", `Id,Scene_label` with the names of files without their endings, or
        "dcase", `audio/NAME TAB label` without a header.

    Raises:
      InputError: two recordings would have one name.

    Source: see `asc_jax.scoring.predictions.write_submission`.
    """
    named = {}
    for place, said in answers.items():
        path = pathlib.PurePath(place)
        name = path.stem if form == "leaderboard" else f"audio/{path.name}"
        if name in named:
            raise InputError(
                f"another recording has the same name {name!r} in a submission", path=place
            )
        named[name] = said.labels[int(said.mean.argmax())]  # a challenge wants one of silence too
    content = io.StringIO()
    writer = csv.writer(
        content, delimiter="," if form == "leaderboard" else "\t", lineterminator="\n"
    )
    writer.writerows([("Id", "Scene_label")] if form == "leaderboard" else [])
    writer.writerows(named.items())
    return content.getvalue()


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(float(seconds), 60)
    return f"{int(minutes) // 60}:{int(minutes) % 60:02}:{seconds:04.1f}"
