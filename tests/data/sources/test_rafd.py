from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data.conftest import check_normalization
from tfcompress import data
from tfcompress.data.files import LabelledFile
from tfcompress.data.sources import rafd
from tfcompress.data.sources.rafd import RafdName, RafdOptions
from tfcompress.errors import InputError


def load(path, **options):
    return data.load(f"rafd:{path}", options=options)


def save(folder, person, emotion, angle="090", gaze="frontal", extension="jpg", group="Kid"):
    """A photograph whose grey level is the person's number."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"Rafd{angle}_{person:02}_{group}_female_{emotion}_{gaze}.{extension}"
    Image.new("RGB", (34, 51), (person, person, person)).save(path, "jpeg", quality=95)
    return path


@pytest.fixture
def photographs(tmp_path):
    """10 persons, 8 emotions, 3 of the angles in folders of their own."""
    for person in range(10, 110, 10):
        for emotion in rafd.EMOTIONS:
            for angle in ("090", "135", "180"):
                save(tmp_path / angle, person, emotion, angle)
    return tmp_path


def persons(part):
    levels = part.images.batch(np.arange(len(part)))[:, 5, 5, 0].astype(float)
    return {round(level / 10) for level in levels}


def test_parse():
    name = RafdName.parse("Rafd090_01_Caucasian_female_angry_frontal.jpg")
    assert name == RafdName("090", 1, "Caucasian", "female", "angry", "frontal")
    assert RafdName.parse("RAFD135_73_Moroccan_MALE_Sad_LEFT.JPG").emotion == "sad"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Rafd090_01_Caucasian_female_angry.jpg", "isn't of the form Rafd<angle>_<model>"),
        ("Rafd060_01_Kid_female_angry_left.jpg", "unknown camera angle '060'"),
        ("Rafd090_1a_Kid_female_angry_left.jpg", "number must be digits; got '1a'"),
        ("Rafd090_01_Kid_feminine_angry_left.jpg", "unknown gender 'feminine'"),
        ("Rafd090_01_Kid_female_angri_left.jpg", "unknown emotion 'angri': did you mean 'angry'"),
        ("Rafd090_01_Kid_female_angry_up.jpg", "unknown gaze 'up'"),
    ],
)
def test_names_that_cannot_be_read(tmp_path, name, message):
    with pytest.raises(InputError, match=message) as caught:
        RafdName.parse(name)
    assert name in str(caught.value)
    (tmp_path / name).write_text("")
    with pytest.raises(InputError, match=f"{message}.*in .*{tmp_path.name}"):
        load(tmp_path)


def test_persons_are_in_one_split_and_classes_balanced(photographs):
    loaded = data.load(f"rafd:{photographs}")
    assert loaded.class_names == rafd.EMOTIONS
    # Angles 090 and 135 of the default three are there: 10 persons x 2.
    assert np.bincount(loaded.train.labels).tolist() == [16] * 8
    assert np.bincount(loaded.test.labels).tolist() == [4] * 8
    assert len(persons(loaded.test)) == 2
    assert not persons(loaded.train) & persons(loaded.test)
    assert persons(loaded.train) | persons(loaded.test) == set(range(1, 11))
    assert "8 for training and 2 for testing" in loaded.split
    assert "0 images left out" in loaded.split


def test_the_split_is_deterministic_whatever_the_angles(photographs):
    first = persons(load(photographs).test)
    assert persons(load(photographs).test) == first
    for angles in (("090",), ("all",), ("180",)):
        assert persons(load(photographs, angles=angles).test) == first
    others = [persons(load(photographs, split_seed=seed).test) for seed in range(1, 6)]
    assert any(other != first for other in others)


def test_normalised_by_the_training_images(tmp_path):
    generator = np.random.default_rng(0)
    for person in range(5):
        for emotion in ("happy", "sad"):
            pixels = generator.integers(0, 50 * (person + 1), (51, 34, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(save(tmp_path, person, emotion), "png")
    check_normalization(load(tmp_path))


def test_angles_and_fraction_are_chosen(photographs):
    options = {"angles": ("all",), "test_fraction": 0.5}
    loaded = data.load(f"rafd:{photographs}", options=options)
    assert (len(loaded.train), len(loaded.test)) == (120, 120)


def test_missing_photographs_are_balanced_and_counted(photographs):
    train_person = max(persons(load(photographs).train)) * 10
    (photographs / "090" / f"Rafd090_{train_person:02}_Kid_female_sad_frontal.jpg").unlink()
    loaded = load(photographs)
    assert np.bincount(loaded.train.labels).tolist() == [15] * 8
    assert np.bincount(loaded.test.labels).tolist() == [4] * 8
    assert "7 images left out" in loaded.split


def test_which_images_are_left_out_follows_the_seed():
    files = [LabelledFile(Path(f"{index}.jpg"), label=int(index > 9)) for index in range(20)]
    chosen = [rafd._balanced(files[:15], ("happy", "sad"), "training", seed) for seed in (0, 0, 1)]
    assert chosen[0] == chosen[1] != chosen[2]
    for files in chosen:
        assert [file.label for file in files] == [0] * 5 + [1] * 5


def test_other_files_and_upper_case_extensions(photographs):
    save(photographs, 110, "happy", extension="JPG")
    Image.new("RGB", (10, 10)).save(photographs / "sample.png")
    assert len(load(photographs).train) + len(load(photographs).test) == 160


def fails(path, message, **options):
    with pytest.raises(InputError, match=message) as caught:
        load(path, **options)
    assert "\n" not in str(caught.value)


def test_no_photographs(tmp_path):
    fails(tmp_path, "has no photographs named Rafd")


def test_no_photographs_at_the_angles(photographs):
    fails(photographs, "no photographs at camera angle 045, 000; it has 090", angles=("045", "000"))


def test_one_person(tmp_path):
    save(tmp_path, 10, "happy")
    save(tmp_path, 10, "sad")
    fails(tmp_path, "2 or more persons; got 1")


def test_an_emotion_that_a_split_lacks(tmp_path):
    for person in (10, 20):
        save(tmp_path, person, "happy")
    save(tmp_path, 20, "sad")
    fails(tmp_path, "person shows the emotion 'sad'")


def test_the_same_photograph_twice(photographs):
    save(photographs / "copy", 10, "happy")
    fails(photographs, "are the same photograph: remove one")


def test_unknown_angles():
    with pytest.raises(InputError, match="unknown camera angle '90': did you mean '090'"):
        RafdOptions(angles=("90",))
    with pytest.raises(InputError, match="angles must name one or more"):
        RafdOptions(angles=())
