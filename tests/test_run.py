import errno

import pytest

from tfcompress import run
from tfcompress.errors import ExportError, InputError


def error_of(capsys, *words):
    """The one error line of a command that must exit with 2."""
    assert run.main(["run", *words]) == 2
    captured = capsys.readouterr()
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1, captured.err
    assert lines[0].startswith("error: ")
    return lines[0]


def test_help_teaches(capsys):
    assert run.main(["run", "--help"]) == 0
    text = capsys.readouterr().out
    assert "python -m tfcompress.run --technique=xnor" in text
    assert "Exit status" in text
    flags = ("technique", "model", "dataset", "set", "storage", "io", "resume", "output_dir")
    for flag in (*flags, "ranges", "rounding", "short_names"):
        assert f"--{flag}:" in text


def test_freed_memory_is_kept_before_tensorflow_allocates(capsys, monkeypatch):
    called = []
    monkeypatch.setattr(run, "keep_freed_memory", lambda: called.append(True))
    error_of(capsys, "--technique=xnr")
    assert called == [True]
    run.main(["run", "--help"])
    assert called == [True]


def test_list_names_everything(capsys):
    assert run.main(["run", "--list"]) == 0
    text = capsys.readouterr().out
    for word in (
        "xnor",
        "arXiv:1603.05279",
        "vgg_small",
        "fer2013:PATH",
        "dynamic",
        "--set width",
        "as in --dataset=csv:houses.csv --set target=price",
    ):
        assert word in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--technique=xnr"], "unknown technique 'xnr': did you mean 'xnor'?"),
        (["--technique=xnor+xnor"], "twice"),
        (["--model=vgg17"], "unknown model 'vgg17': did you mean 'vgg16'?"),
        (["--model=missing.keras"], "no model file missing.keras"),
        (["--dataset=cifar11"], "unknown data set 'cifar11'"),
        (["--dataset=folder:/no/such"], "/no/such"),
        (["--storage=int9"], "unknown storage 'int9'"),
        (["--storage=lce"], "storage lce isn't for this command, which measures files in LiteRT"),
        (["--io=int4"], "--io=int4: value should be one of <float32|int8|uint8>"),
        (["--technique=prune", "--io=int8"], "io=int8 is for files that compute in integers"),
        (["--rounding=up"], "--rounding=up: value should be one of <nearest|gptq>"),
        (["--technique=int8", "--rounding=gptq"], "few bits, as in storage int8_int4"),
        (["--technique=prune", "--ranges=mse"], "as in storage int8 or int8_int4 of a network"),
        (["--set", "wdth=2"], "unknown option 'wdth': did you mean 'width'?"),
        (["--set", "width"], "key=value"),
        (["--set", "width=wide"], "option width takes a number; got 'wide'"),
        (["--set", "recipe=papr"], "option recipe takes one of default, long, paper; got 'papr'"),
        (["--set", "epochs=3"], "--epochs=3"),
        (["--epochs=-1"], "--epochs must be 0 or more; got -1"),
        (["--epochs=many"], "--epochs=many"),
        (["--batch_size=0"], "--batch_size must be 1 or more"),
        (["--learning_rate=0"], "--learning_rate must be a positive number"),
        (["--learning_rate=nan"], "--learning_rate must be a positive number"),
        (["--seed=-1"], "--seed"),
        (["--benchmark=tpu"], "--benchmark must be one of"),
        (["--benchmark=none,cpu"], "none excludes"),
        (["--benchmark=delegate:/no/such.so"], "there is no file /no/such.so"),
        (["--augment=twist"], "--augment"),
        (["--nonsense=1"], "nonsense"),
        (["xnor"], "'xnor' isn't a flag"),
    ],
)
def test_bad_usage(capsys, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    assert message in error_of(capsys, *words)
    assert list(tmp_path.iterdir()) == []


def test_a_model_file_that_is_none(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.keras").write_text("not a zip")
    assert "m.keras isn't a .keras file" in error_of(capsys, "--model=m.keras")
    assert [path.name for path in tmp_path.iterdir()] == ["m.keras"]


@pytest.mark.parametrize("folder", ["/proc/none/such", "file/below"])
def test_an_output_folder_that_cannot_be(capsys, tmp_path, monkeypatch, folder):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    assert "can't be written" in error_of(capsys, f"--output_dir={folder}")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_truncated_png(capsys, tmp_path, monkeypatch, picture_folder):
    monkeypatch.chdir(tmp_path)
    whole = next(picture_folder.glob("train/cross/*.png")).read_bytes()
    for kind in ("cross", "stripe"):
        folder = tmp_path / "data" / kind
        folder.mkdir(parents=True)
        for number in range(4):
            (folder / f"{number}.png").write_bytes(whole)
    (tmp_path / "data" / "cross" / "1.png").write_bytes(whole[: len(whole) // 2])
    assert "cross/1.png" in error_of(capsys, "--dataset=folder:data", "--output_dir=deep/out")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_flags_become_a_config():
    values = run.parse(
        ["run", "--technique=bwn", "--set", "width=2", "--set", "dropout=0", "--noresume"]
    )
    config = run.to_config(values)
    assert config.technique == "bwn"
    assert config.options == {"width": "2", "dropout": "0"}
    assert config.resume is False
    assert config.epochs is None
    assert config.benchmark == ("cpu",)


def test_a_file_that_is_refused(capsys, tmp_path, monkeypatch):
    def refuse(job):
        raise ExportError("the file differs from Keras:\nit has 0 classes")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tfcompress.pipeline.stages.run", refuse)
    assert error_of(capsys) == "error: the file differs from Keras: it has 0 classes"


def test_ctrl_c(capsys, monkeypatch):
    def interrupt(argv):
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "execute", interrupt)
    assert run.main(["run"]) == 130
    assert "the same command goes on from there" in capsys.readouterr().err


def test_a_full_disk_is_one_line_and_the_run_goes_on_later(monkeypatch, capsys):
    def full(argv):
        raise OSError(errno.ENOSPC, "No space left on device", "out/report.md")

    monkeypatch.setattr(run, "execute", full)
    assert run.main(["run"]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first == "error: out/report.md can't be written: No space left on device"
    assert "the same command goes on" in second


def test_parse_refuses_in_one_line():
    with pytest.raises(InputError, match="isn't a flag"):
        run.parse(["run", "--technique=xnor", "vgg16"])
