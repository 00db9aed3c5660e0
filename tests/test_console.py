"""The command `visionlab`: doors under one name, quick to say what there is."""

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import visionlab
from visionlab.__main__ import DOORS, main

SCRIPT = Path(sys.executable).with_name("visionlab")


@pytest.fixture
def console(monkeypatch, capfd):
    """The command in this process; returns the exit code and what was printed."""

    def call(*arguments, **environment):
        monkeypatch.setattr(sys, "argv", ["/usr/bin/visionlab", *arguments])
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        capfd.readouterr()
        code = 0
        try:
            main()
        except SystemExit as left:
            code = left.code or 0
        printed = capfd.readouterr()
        return code, printed.out + printed.err

    return call


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_alone_it_lists_every_door_with_a_line(console, arguments):
    code, text = console(*arguments)
    assert code == 0 and max(map(len, text.splitlines())) <= 80
    lines = text.splitlines()
    for door in DOORS:
        assert any(line.split()[:1] == [door] and len(line.split()) > 3 for line in lines), door


def test_the_doors_are_those_of_the_package():
    assert set(DOORS) == set(visionlab._DOORS)
    assert [door for door in DOORS if find_spec(f"visionlab.{door}") is None] == []


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("trian", "did you mean 'train'"),
        ("xyz", "choose one of: compare, evaluate, explore, export"),
        ("model=alexnet", "visionlab train model=alexnet"),
        ("-m", "visionlab train -m"),
    ],
)
def test_a_mistake_is_said(console, word, says):
    code, text = console(word, "x=1")
    assert code == 2 and says in text and "Traceback" not in text


def test_a_door_behaves_as_its_module_does(console, quick_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, text = console("evaluate", f"run={quick_run.dir}")
    assert code == 0 and f"{quick_run.result['metrics']['test/acc']:.6f}" in text
    assert console("evaluate", "run=nowhere")[0] == 2
    code, text = console("compare", "nowhere")
    assert code == 2 and "Traceback" not in text


@pytest.mark.parametrize("door", ["predict", "export", "evaluate"])
def test_help_explains_the_keys(console, door):
    code, text = console(door, "--help")
    assert code == 0 and "\nrun: ???\n" in text and "# The directory of the run" in text
    assert "hydra:" not in text and "defaults:" not in text and "alexnet" not in text


@pytest.mark.parametrize(("door", "key"), [("explore", "out: null"), ("probe", "k: 20"), ("tune", "what: speed")])
def test_help_of_a_door_that_takes_what_train_takes_explains_its_own_keys(console, door, key):
    code, text = console(door, "--help")
    assert code == 0 and f"\n{key}\n" in text
    assert "hydra:" not in text and "defaults:" not in text


@pytest.mark.parametrize("arguments", [[], ["train", "--help"], ["export", "--help"]])
def test_saying_what_there_is_imports_nothing_heavy(arguments):
    code = (
        f"import sys; sys.argv = ['visionlab', *{arguments}]\n"
        "from visionlab.__main__ import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print([name for name in ('torch', 'lightning', 'optuna', 'sklearn', 'onnx') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("line", "answers"),
    [
        ("visionlab ", set(DOORS)),
        ("visionlab ex", {"explore", "export"}),
        (
            "/usr/bin/visionlab train model=alexn",
            {"model=alexnet", "model=alexnet_light_224", "model=alexnet_light_32"},
        ),
        ("visionlab train optimizer.weight_d", {"optimizer.weight_decay="}),
        ("visionlab train data=cifar10 trainer.max_e", {"trainer.max_epochs="}),
        ("visionlab export form", {"format="}),
        ("visionlab compare out", set()),
        ("visionlab reproduce 0", set()),
        ("visionlab nothing x", set()),
    ],
)
def test_a_line_is_completed(console, line, answers):
    code, text = console("-sc", "query=bash", COMP_LINE=line, COMP_POINT=str(len(line)))
    assert code == 0 and set(text.split()) == answers


@pytest.mark.skipif(not (shutil.which("bash") and SCRIPT.exists()), reason="needs bash and the installed command")
def test_a_real_bash_completes(tmp_path):
    script = f"""
        export PATH="{SCRIPT.parent}:$PATH"
        eval "$(visionlab -sc install=bash)"
        complete -p visionlab
        COMP_LINE="visionlab train model=alexnet_light_3"; COMP_POINT=${{#COMP_LINE}}; COMP_CWORD=2
        hydra_bash_completion
        echo "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, cwd=tmp_path, env=os.environ)
    registered, completed = done.stdout.splitlines()
    assert registered.endswith("-F hydra_bash_completion visionlab")
    assert completed == "model=alexnet_light_32"
