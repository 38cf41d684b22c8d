"""The Radboud Faces Database: photographs of posed emotions, split by person.

Langner et al., "Presentation and validation of the Radboud Faces Database", Cognition & Emotion,
2010. It is given out by its makers on request and may not be passed on.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tfcompress.data.source import Request, Source, check_split_options, existing_folder
from tfcompress.errors import InputError, require, unknown_name

if TYPE_CHECKING:
    from tfcompress.data.dataset import Dataset
    from tfcompress.data.files import LabelledFile

ANGLES = ("000", "045", "090", "135", "180")
EMOTIONS = (
    "angry",
    "contemptuous",
    "disgusted",
    "fearful",
    "happy",
    "neutral",
    "sad",
    "surprised",
)
GENDERS = ("female", "male")
GAZES = ("frontal", "left", "right")
_PATTERN = "Rafd<angle>_<model>_<group>_<gender>_<emotion>_<gaze>.jpg"


@dataclasses.dataclass(frozen=True, kw_only=True)
class RafdOptions:
    """Which photographs are read and how they are split.

    Attributes:
        angles: camera angles in degrees, 090 from the front; `all` for all five.
        test_fraction: the share of persons whose photographs become test images.
        split_seed: of the choice of these persons.
    """

    angles: tuple[str, ...] = ("045", "090", "135")
    test_fraction: float = 0.2
    split_seed: int = 0

    def __post_init__(self) -> None:
        """Refuses angles that no photograph has, and splits that leave one side empty."""
        if self.angles == ("all",):
            object.__setattr__(self, "angles", ANGLES)
        require(bool(self.angles), f"angles must name one or more of {', '.join(ANGLES)}, or all")
        for angle in self.angles:
            if angle not in ANGLES:
                raise unknown_name("camera angle", angle, (*ANGLES, "all"))
        check_split_options(self.test_fraction, self.split_seed)


@dataclasses.dataclass(frozen=True)
class RafdName:
    """What the name of a photograph says of it.

    Attributes:
        angle: of the camera, in degrees: 000, 045, 090 (from the front), 135 or 180.
        model: the number of the person photographed.
        group: of persons, as the database names it: Caucasian, Kid, Moroccan.
        gender: female or male.
        emotion: one of `EMOTIONS`.
        gaze: frontal, left or right.
    """

    angle: str
    model: int
    group: str
    gender: str
    emotion: str
    gaze: str

    @classmethod
    def parse(cls, filename: str) -> RafdName:
        """Reads a file name, in upper or lower case.

        Raises:
            InputError: names the file and the part of its name that is wrong.

        >>> RafdName.parse("Rafd090_01_Caucasian_female_angry_frontal.jpg")
        RafdName(angle='090', model=1, group='Caucasian', gender='female', emotion='angry',
                 gaze='frontal')
        """
        parts = Path(filename).stem.split("_")
        require(
            len(parts) == 6 and parts[0].lower().startswith("rafd"),
            f"file name {filename} isn't of the form {_PATTERN}",
        )
        angle, model, group, gender, emotion, gaze = parts
        angle, gender, emotion, gaze = angle[4:], gender.lower(), emotion.lower(), gaze.lower()
        for what, part, known in (
            ("camera angle", angle, ANGLES),
            ("gender", gender, GENDERS),
            ("emotion", emotion, EMOTIONS),
            ("gaze", gaze, GAZES),
        ):
            if part not in known:
                raise InputError(f"file name {filename}: {unknown_name(what, part, known)}")
        require(
            model.isascii() and model.isdigit(),
            f"file name {filename}: the model's number must be digits; got '{model}'",
        )
        return cls(angle, int(model), group, gender, emotion, gaze)


def check(request: Request) -> None:
    """Refuses a request whose folder isn't there."""
    existing_folder(request.path)


def load(request: Request) -> Dataset:
    """Reads a folder of RaFD photographs, in subfolders or not.

    Every person is in the training or in the test images, never in both, so that test accuracy
    is that on strangers. In each of the two every emotion has the same number of images: where
    photographs are missing, others are left out. Image files that aren't named `Rafd...` are
    passed over.

    Args:
        request: its path is the folder; its options, `RafdOptions`, choose the photographs and
            say how they are split.

    Returns:
        The data set; its classes are the photographs' emotions, in alphabetical order.

    Raises:
        InputError: names a missing folder, a file name that can't be read, a photograph that is
            there twice or can't be decoded, or an emotion that one of the splits lacks.
    """
    from tfcompress.data.dataset import Dataset
    from tfcompress.data.files import splits_of
    from tfcompress.data.normalization import Normalization

    options: RafdOptions = request.options
    root = existing_folder(request.path)
    named = _photographs(root)
    chosen = [(file, name) for file, name in named if name.angle in options.angles]
    require(
        bool(chosen),
        f"{root} has no photographs at camera angle {', '.join(options.angles)}; it has "
        f"{', '.join(sorted({name.angle for _, name in named}))}",
    )
    # Chosen among all persons that are there, so that the angles don't change who is tested on.
    test_persons = _test_persons({name.model for _, name in named}, options)
    class_names = tuple(sorted({name.emotion for _, name in chosen}))
    train_files, test_files = (
        _balanced(_labelled(part, class_names), class_names, title, options.split_seed)
        for title, part in (
            ("training", [pair for pair in chosen if pair[1].model not in test_persons]),
            ("test", [pair for pair in chosen if pair[1].model in test_persons]),
        )
    )
    train, test = splits_of(train_files, test_files, request.image_size, request.fallback_size)
    persons = {name.model for _, name in chosen}
    left_out = len(chosen) - len(train_files) - len(test_files)
    return Dataset(
        name=request.name,
        class_names=class_names,
        licence="on request from the makers of the Radboud Faces Database; not to be passed on",
        source=f"{root}, camera angles {', '.join(options.angles)}",
        train=train,
        test=test,
        normalization=Normalization.of(train.images),
        augmentation="flip",
        split=f"By person, {len(persons - test_persons)} for training and "
        f"{len(persons & test_persons)} for testing, seed {options.split_seed}; {left_out} images "
        "left out so that all classes have equally many.",
    )


def _photographs(root: Path) -> list[tuple[Path, RafdName]]:
    """Returns all photographs in a folder and below it, each with its name, by name."""
    from tfcompress.data.files import image_files

    named: dict[RafdName, Path] = {}
    for file in image_files(root):
        if file.name.lower().startswith("rafd"):
            try:
                name = RafdName.parse(file.name)
            except InputError as error:
                raise InputError(f"{error} (in {file.parent})") from error
            require(
                name not in named,
                f"{file} and {named.get(name)} are the same photograph: remove one",
            )
            named[name] = file
    require(bool(named), f"{root} has no photographs named {_PATTERN}")
    return [(named[name], name) for name in sorted(named, key=dataclasses.astuple)]


def _labelled(
    photographs: Sequence[tuple[Path, RafdName]], class_names: Sequence[str]
) -> list[LabelledFile]:
    """Labels photographs by their emotion."""
    from tfcompress.data.files import LabelledFile

    return [LabelledFile(file, class_names.index(name.emotion)) for file, name in photographs]


def _test_persons(persons: set[int], options: RafdOptions) -> set[int]:
    """Chooses the persons to test on at random."""
    import numpy as np

    from tfcompress.data.dataset import held_out_count

    require(
        len(persons) >= 2,
        f"a split by person needs photographs of 2 or more persons; got {len(persons)}",
    )
    shuffled = np.random.default_rng(options.split_seed).permutation(sorted(persons))
    count = held_out_count(len(persons), options.test_fraction)
    return {int(person) for person in shuffled[:count]}


def _balanced(
    files: Sequence[LabelledFile], class_names: Sequence[str], title: str, seed: int
) -> list[LabelledFile]:
    """Chooses as many files of each class as the rarest one has, at random, in their order."""
    import numpy as np

    counts = collections.Counter(file.label for file in files)
    for label, name in enumerate(class_names):
        require(
            counts[label] > 0,
            f"no {title} person shows the emotion '{name}': photographs of more persons are "
            "needed, or another split_seed",
        )
    fewest = min(counts.values())
    chosen: list[int] = []
    for label in range(len(class_names)):
        members = [index for index, file in enumerate(files) if file.label == label]
        generator = np.random.default_rng([seed, label])
        chosen += generator.permutation(members)[:fewest].tolist()
    return [files[index] for index in sorted(chosen)]


SOURCE = Source(
    pattern="rafd:PATH",
    summary="the Radboud Faces Database's files; 8 emotions, split by person",
    local=True,
    check=check,
    load=load,
    options=RafdOptions,
)
