"""What a person types that is no override, or one of no key, through the doors: the answer can be used as it stands."""

import inspect
import pydoc
import re
import shlex
import sys

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

import visionlab
from quick import QUICK
from visionlab.config import conf_root
from visionlab.words import argument, unreadable


@pytest.fixture
def door(tmp_path, monkeypatch, capfd):
    """A door in this process, by its name: the lines that a mistake leaves."""
    monkeypatch.chdir(tmp_path)

    def call(name, *words):
        monkeypatch.setattr(sys, "argv", [f"visionlab.{name}", *words])
        capfd.readouterr()
        with pytest.raises(SystemExit) as left:
            getattr(visionlab, name).main()
        assert left.value.code == 2
        told = capfd.readouterr().err
        assert "Traceback" not in told and len(told.strip().splitlines()) <= 8
        return told

    return call


@pytest.mark.parametrize("name", ["predict", "evaluate", "export"])
def test_a_key_that_is_added_to_a_door_is_no_argument_of_its_function(door, quick_run, name):
    given = ["source=x.png"] if name == "predict" else []
    told = door(name, f"run={quick_run.dir}", *given, "+batch_sice=1" if name != "export" else "+sourc=1")
    assert "there is no key" in told
    assert ("did you mean 'source'?" if name == "export" else "did you mean 'batch_size'?") in told
    assert "hydra" not in door(name, f"run={quick_run.dir}", *given, "+zzz=1")


@pytest.mark.parametrize(("name", "key"), [("tune", "min_lr"), ("explore", "out")])
def test_the_keys_of_a_door_of_training_are_among_the_near_ones(door, name, key):
    assert f"did you mean '{key}'?" in door(name, *QUICK, f"+{key}t=3")


def typed(shown):
    """What Hydra reads once a shell has taken its own quotes away."""
    (word,) = shlex.split(shown)
    override = OverridesParser.create().parse_override(word)
    assert not override.is_sweep_override()
    return override.key_or_group, override.value()


TEXTS = [
    "/photos/Käfer und Baum.JPG", "a b.png", "a (1).png", "[alt] x.png", "it's.png", 'a "b" c.png', "'a' \"b\"", "a=b",
    "a,b", "a\\b ä", "ends with \\", 'ä\\"', "ä\\'", "ä\\\\", "$HOME ä", "`x`", "wow!.png", "wow! it's.png",
    "a#b", "a&b;c", "~/photos", "猫.png", "a\tä", "null", "true", "", "**/*.jpg", "photos/", "1e3", "{a}", "[a", " ä ",
]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_the_argument_that_is_shown_means_the_text(text):
    assert typed(argument("source", text)) == ("source", text)


@pytest.mark.parametrize("text", [text for text in TEXTS if set(text) & set('ä("#&~=')])
def test_what_cannot_be_read_is_shown_as_it_is_to_be_typed(text):
    error = unreadable(f"data.root={text}", "train", [])
    assert typed(error.remedy.partition(": ")[2].partition("; to sweep")[0]) == ("data.root", text)


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ("[outputs/ä,outputs/b]", ["outputs/ä", "outputs/b"]),
        ("[b, ä's]", None),
        ("{root: Fotos/Äpfel, image_size: 64}", {"root": "Fotos/Äpfel", "image_size": 64}),
        ("{a: [ä]}", None),
    ],
)
def test_the_texts_of_a_list_are_quoted_one_by_one(given, value):
    remedy = unreadable(f"run={given}", "predict", []).remedy
    assert typed(remedy.partition(": ")[2]) == ("run", given if value is None else value)


def test_a_sweep_over_texts_is_shown_too():
    shown = unreadable("data.root=Äpfel,b", "train", []).remedy.partition("several: ")[2]
    (word,) = shlex.split(shown)
    override = OverridesParser.create().parse_override(word)
    assert [str(each) for each in override.sweep_string_iterator()] == ['"Äpfel"', "b"]


def test_a_path_without_a_key_is_given_its_own(door, quick_run, tmp_path):
    folder = tmp_path / "my cats"
    folder.mkdir()
    assert "do: did you mean: source=photos/\n" in door("predict", f"run={quick_run.dir}", "photos/")
    assert f"did you mean: run={quick_run.dir}\n" in door("predict", str(quick_run.dir), "source=photos/")
    assert "did you mean: run=outputs/x\n" in door("export", "outputs/x")
    assert "did you mean: data=folder 'data.root=" not in door("train", "cats")
    assert "did you mean: data=folder data.root=cats/\n" in door("explore", "cats/")


def test_what_a_shell_divided_at_spaces_is_put_together_where_it_names_a_file(door, tmp_path):
    (tmp_path / "Käfer und Baum").mkdir()
    shown = "'data.root=\"Käfer und Baum\"'\n"
    assert shown in door("train", "data=folder", "data.root=Käfer", "und", "Baum", "seed=1")
    assert "'Käfer und Baum'" not in door("train", "data=folder", "seed=1", "und", "Baum")
    (tmp_path / "my cats").mkdir()
    assert "data.root=my cats'\n" in door("train", "data=folder", "data.root=my", "cats")


def test_a_folder_of_images_is_no_choice_of_data(door, tmp_path):
    (tmp_path / "photos").mkdir()
    for given in ("data=photos", f"data={tmp_path / 'photos'}"):
        told = door("train", given)
        assert f"there is no data named '{given[5:]}'\n  in: {given}\n" in told
        assert f"do: give data=folder data.root={given[5:]}\n" in told


def test_what_the_help_shows_goes_through_a_shell():
    """What a shell would take apart at its spaces and brackets stands between quotes."""
    for file in conf_root().glob("*.yaml"):
        for shown in re.finditer(r"(.)\b[a-z][\w.]*=[\[{(][^\]})]*.(.)", file.read_text(encoding="utf-8")):
            assert shown[1] == shown[2] == "'", f"{file.name}: {shown[0]}"


@pytest.mark.parametrize("name", sorted(set(visionlab.__all__) - {"Loaded", "Run", "Sweep", "load", "sweep"}))
def test_a_door_shows_what_its_function_takes(name):
    """As a notebook asks for it; `help` shows the function too."""
    door = getattr(visionlab, name)
    function = getattr(door, name)
    assert inspect.signature(door) == inspect.signature(function)
    assert inspect.getdoc(door) == inspect.getdoc(function) and "Args:" in inspect.getdoc(door)
    assert inspect.getdoc(function).splitlines()[-1] in pydoc.render_doc(door, renderer=pydoc.plaintext)
