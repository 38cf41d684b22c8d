"""What every source must do, whatever it is: a new one is tested on arrival."""

import dataclasses
import importlib
import sys
import types

import pytest

from tfcompress import data, run
from tfcompress.config import RunConfig
from tfcompress.data import sources
from tfcompress.data.source import all_sources, find_source
from tfcompress.errors import InputError
from tfcompress.pipeline import exporting, inputs

each = pytest.mark.parametrize("source", all_sources(), ids=lambda source: source.pattern)


@each
def test_says_what_it_is(source):
    assert source.pattern
    assert source.summary
    assert "\n" not in source.summary
    assert isinstance(source.local, bool)
    assert data.names()[source.pattern] == source.summary


@each
def test_options_are_frozen_and_have_documented_defaults(source):
    if source.options is None:
        return
    assert dataclasses.is_dataclass(source.options)
    assert source.options.__dataclass_params__.frozen
    source.options()
    for field in dataclasses.fields(source.options):
        assert field.kw_only
        assert f"{field.name}:" in source.options.__doc__


@each
def test_is_found_by_its_names_and_by_no_other(source):
    if source.scheme:
        assert find_source(f"{source.scheme}:some/path") == (source, "some/path")
    elif source.is_one_name:
        assert find_source(source.pattern) == (source, "")
    others = [other for other in all_sources() if other.pattern != source.pattern]
    for other in others:
        if other.scheme:
            assert find_source(f"{other.scheme}:x")[0] == other
        elif other.is_one_name:
            assert find_source(other.pattern)[0] == other


@each
def test_a_path_is_needed_and_looked_for(source):
    if not source.scheme:
        return
    for name, message in (
        (source.scheme, f"lacks its path: {source.pattern}"),
        (f"{source.scheme}:", f"lacks its path: {source.pattern}"),
        (f"{source.scheme}:/no/such/place", "/no/such/place"),
    ):
        for use in (data.check_name, data.load):
            with pytest.raises(InputError, match=message) as caught:
                use(name)
            assert "\n" not in str(caught.value)


@each
def test_unknown_options(source):
    name = f"{source.scheme}:x" if source.scheme else source.pattern
    if source.takes is not None:
        name = "mnist"
    with pytest.raises(InputError, match=r"unknown option of data set .* 'no_such_option'"):
        data.load(name, options={"no_such_option": "1"})


# Its own name for the data set, and where the images come from, hold the path.
MYSOURCE = '''
"""Grey squares, for a folder of the user's own."""

import dataclasses

from tfcompress.data.source import Source, existing_folder


@dataclasses.dataclass(frozen=True, kw_only=True)
class MyOptions:
    """How the squares are made.

    Attributes:
        shade: of the second class, 0..255.
    """

    shade: int = 9


def check(request):
    existing_folder(request.path)


def load(request):
    import numpy as np

    from tfcompress.data.arrays import from_arrays

    folder = existing_folder(request.path)
    x = np.zeros((4, 32, 32), np.uint8)
    x[1::2] = request.options.shade
    y = np.arange(4) % 2
    loaded = from_arrays((x, y), (x, y), name=str(folder))
    return dataclasses.replace(loaded, source=str(folder), local=False)


SOURCE = Source(
    pattern="mysource:PATH",
    summary="grey squares",
    local=True,
    check=check,
    load=load,
    options=MyOptions,
)
'''


@pytest.fixture
def mysource(tmp_path, monkeypatch):
    """A source in a file of its own, beside the package's, and a folder for it to read."""
    code = tmp_path / "code"
    code.mkdir()
    (code / "mysource.py").write_text(MYSOURCE)
    photos = tmp_path / "ann" / "photos"
    photos.mkdir(parents=True)
    monkeypatch.setattr(sources, "__path__", [*sources.__path__, str(code)])
    importlib.invalidate_caches()
    yield photos
    sys.modules.pop("tfcompress.data.sources.mysource", None)
    vars(sources).pop("mysource", None)


def test_a_new_file_is_a_new_source(mysource):
    assert data.names()["mysource:PATH"] == "grey squares"
    # What takes all other names is asked last, whatever the files are called.
    assert list(data.names())[-1] == "<TFDS name>"
    source, path = find_source(f"mysource:{mysource}")
    assert path == str(mysource)
    for contract in (
        test_says_what_it_is,
        test_options_are_frozen_and_have_documented_defaults,
        test_is_found_by_its_names_and_by_no_other,
        test_a_path_is_needed_and_looked_for,
        test_unknown_options,
    ):
        contract(source)
    data.check_name(f"mysource:{mysource}")
    loaded = data.load(f"mysource:{mysource}", options={"shade": 200})
    assert loaded.train.images.array.max() == 200
    with pytest.raises(InputError, match="unknown data set scheme 'mysorce': did you mean 'myso"):
        data.check_name(f"mysorce:{mysource}")


def test_a_new_source_is_in_every_list_and_flag(mysource, capsys):
    from tfcompress.pipeline import catalogue
    from tfcompress.pipeline.plan import plan

    lines = catalogue.text().splitlines()
    at = lines.index("  mysource:PATH: grey squares")
    assert lines[at + 1] == "    --set shade=9"
    assert run.main(["run", "--help"]) == 0
    assert "mysource:PATH" in capsys.readouterr().out
    job = plan(RunConfig(dataset=f"mysource:{mysource}", options={"shade": "7"}))
    assert job.data_options == {"shade": 7}
    pytest.importorskip("tensorflow_datasets")
    with pytest.raises(InputError, match=r"It must be .* or one of .*mysource:PATH"):
        data.check_name("cifra10")


def test_no_path_of_a_local_source_is_written_into_a_file(mysource):

    loaded = data.load(f"mysource:{mysource}")
    assert loaded.local
    assert loaded.name == f"mysource:{mysource}"
    job = types.SimpleNamespace(config=RunConfig(dataset=loaded.name))
    for title in ("baseline", "compressed"):
        metadata = exporting.metadata(job, inputs.Task(data=loaded, judge=None), title)
        assert metadata.name == f"{job.config.model} on mysource:photos"
        assert "on mysource:photos, " in metadata.description
        assert "ann" not in repr(metadata)


def test_public_data_say_where_they_come_from():

    loaded = data.load("fashion_mnist_small")
    assert not loaded.local
    job = types.SimpleNamespace(config=RunConfig())
    metadata = exporting.metadata(job, inputs.Task(data=loaded, judge=None), "baseline")
    assert metadata.name.endswith(" on fashion_mnist_small")
    assert "(embedded subset of Fashion-MNIST, github.com/zalandoresearch" in metadata.description
