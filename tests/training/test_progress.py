"""What a run shows while it trains."""

from quick import QUICK
from visionlab import train


def test_no_bar_where_there_is_no_terminal(tmp_path, monkeypatch, capsys):
    """FORCE_COLOR, which a notebook sets for what it starts, asks for colours and not for a moving cursor."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    train([*QUICK, "callbacks.progress.show=true"], directory=tmp_path / "run")
    shown = capsys.readouterr().out
    assert "val/acc" in shown or "val loss" in shown
    assert not any(code in shown for code in ("\x1b[1A", "\x1b[2K", "\x1b[?25l")), "a cursor that moves"
    assert "\x1b[1;36m" not in shown, "numbers in a colour of their own, of which a comma has none"
