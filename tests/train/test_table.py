"""The rows of a run's epochs: whose they are, and how fast steps were."""

from asc_jax.train.table import Table, results

RUNS = ("seed0", "seed0", "seed1", "seed1")
LINE = {
    "loss": [1.0, 2.0, None, 4.0],
    "learning_rate": [1e-3, 1e-3, 1e-4, 1e-4],
    "validation_accuracy": [0.5, 0.75, None, 0.25],
}


def test_each_run_of_a_program_has_a_row_with_its_name_until_it_is_lost():
    first, second = (row.split() for row in results(LINE, RUNS))
    assert first == ["1.500", "1.00e-03", "62.5", "50.0", "75.0", "seed0"]
    assert second == ["4.000", "1.00e-04", "25.0", "-", "25.0", "seed1"]
    assert len(results(LINE, RUNS, lost={"seed1"})) == 1


def test_a_run_of_one_model_has_no_mean_and_one_without_validation_no_scores():
    one = {name: values[:1] for name, values in LINE.items()}
    (row,) = results(one, ("",))
    assert row.split() == ["1.000", "1.00e-03", "50.0"]
    del one["validation_accuracy"]
    (row,) = results(one, ("",))
    assert row.split() == ["1.000", "1.00e-03"]


def test_the_speed_is_without_compilation(capsys):
    table = Table(["loss"], n_epochs=3, steps_per_epoch=10)
    for epoch, seconds, median in ((1, 60.0, None), (2, 5.0, None), (3, 5.0, 0.25)):
        table.add({"epoch": epoch, "seconds": seconds, "seconds_per_step": median}, ["1.0"])
    speeds = [line.split()[1] for line in capsys.readouterr().out.splitlines()]
    assert speeds[1] == "-" and list(map(float, speeds[2:])) == [2.0, 4.0]
