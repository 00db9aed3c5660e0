"""Bad files are known before the first step, all at once; what is no trouble is not treated as such."""

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from visionlab.data import store
from visionlab.errors import ConfigError, DataError


def spoil(root) -> dict[str, str]:
    """Put one file of each kind that cannot be read into class0; returns a word of the expected reason by name."""
    whole = (root / "class0/000.png").read_bytes()
    Image.fromarray(np.asarray(Image.open(root / "class0/000.png"))).save(root / "class0/whole.jpg", quality=95)
    jpeg = (root / "class0/whole.jpg").read_bytes()
    (root / "class0/cut.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    (root / "class0/cut.png").write_bytes(whole[: len(whole) // 2])
    (root / "class0/empty.jpg").write_bytes(b"")
    (root / "class0/text.jpg").write_text("not an image at all")
    (root / "class0/bomb.png").write_bytes(bomb())
    (root / "class0/broken link.jpg").symlink_to(root / "nowhere.jpg")
    return {"cut.jpg": "truncated", "cut.png": "truncated", "empty.jpg": "empty", "text.jpg": "not an image",
            "bomb.png": "178,956,970 are the most that are read", "broken link.jpg": "broken link"}  # fmt: skip


def bomb() -> bytes:
    """Some hundred bytes that say they are 60,000 x 60,000 px."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_error_names_every_bad_file_and_why(make_folder, folder):
    root = make_folder()
    expected = spoil(root)
    with pytest.raises(DataError) as error:
        folder(root)
    lines = str(error.value).splitlines()
    assert lines[0].startswith(f"{len(expected)} of 25 images cannot be read")
    for name, why in expected.items():
        assert any(f"class0/{name}" in line and why in line for line in lines), name
    assert "on_bad_image=skip" in error.value.remedy


def test_skip_leaves_them_out_and_counts_them(make_folder, folder):
    root = make_folder()
    bad = spoil(root)
    data = folder(root, on_bad_image="skip")
    summary = data.summary()
    assert summary["skipped"] == len(bad)
    assert summary["train"] + summary["val"] == 18 + 1
    used = data.image_names(np.concatenate([data.splits.train, data.splits.val]))
    assert not {name.split("/")[1] for name in used} & set(bad)


def test_files_with_other_endings_are_counted(make_folder, folder, caplog):
    root = make_folder()
    before = folder(root)
    assert "other endings" not in caplog.text and before.summary()["others"] == {}
    for number in range(3):
        (root / f"class0/IMG_{number}.HEIC").write_bytes(b"a photograph")
    (root / "class1/below").mkdir()
    for name in ("class1/below/b.avif", "class2/c.heic", "class2/100%s"):
        (root / name).write_bytes(b"another")
    for name in (".DS_Store", "._a.heic", "Thumbs.db", "notes.txt", "boxes.CSV", "a.json", "a.xml", "a.mat", "a.md"):
        (root / "class2" / name).write_bytes(b"no photograph")
    data = folder(root)
    told = [record.getMessage() for record in caplog.records if "other endings" in record.getMessage()]
    assert [line.partition(";")[0] for line in told] == [
        "6 files with other endings are left out: 4 .heic, 1 (no ending), 1 .avif"
    ]
    assert data.summary() == before.summary() | {"others": {".heic": 4, ".avif": 1, "(no ending)": 1}}
    assert data.store.key == before.store.key  # decoded images stay valid


def ramps(root, bits, count):
    """Images of two classes in files of 16 bits."""
    ramp = np.linspace(0, 2**bits - 1, 144).astype(np.uint16).reshape(12, 12)
    for place in (root / kind / f"{bits}-{number}.png" for kind in "ab" for number in range(count)):
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.roll(ramp, int(place.stem.partition("-")[2]), axis=0)).save(place)


@pytest.mark.parametrize(("dark", "told"), [(40, "40 of 40"), (8, "8 of 40"), (2, ""), (0, "")])
def test_images_that_do_not_fill_their_sixteen_bits_are_spoken_of(tmp_path, folder, caplog, dark, told):
    ramps(tmp_path / "cells", 12, dark)
    ramps(tmp_path / "cells", 16, 40 - dark)
    folder(tmp_path / "cells")
    said = f"{told} images looked at are nearly black: no pixel of them is above 15 of 255"
    assert said in caplog.text if told else "nearly black" not in caplog.text


def test_the_value_that_is_white_may_be_told(tmp_path, folder, caplog):
    ramps(tmp_path / "cells", 12, 40)
    as_it_is, told = folder(tmp_path / "cells"), folder(tmp_path / "cells", white=4095)
    assert caplog.text.count("nearly black") == 1
    assert as_it_is.store.pixels.max() == 15 and told.store.pixels.max() > 200
    assert as_it_is.store.key != told.store.key
    for wrong in (0, -1, "a", True, float("nan")):
        with pytest.raises(ConfigError, match="is no number above 0"):
            folder(tmp_path / "cells", white=wrong)


def test_bad_files_are_named_again_from_the_cache_and_forgiven_when_they_are_repaired(make_folder, folder):
    root = make_folder()
    (root / "class0/late.png").symlink_to(root / "class9.png")
    for _ in range(2):
        with pytest.raises(DataError, match="broken link"):
            folder(root)
    # the link itself stays as it is: only what it leads to comes into being
    Image.new("RGB", (9, 9)).save(root / "class9.png")
    assert folder(root).summary()["skipped"] == 0


def test_what_only_looks_bad_is_read(make_folder, folder, tmp_path):
    root = make_folder()
    first = root / "class0/000.png"
    (root / "class0/really a png.jpg").write_bytes(first.read_bytes()[:-1] + first.read_bytes()[-1:])
    Image.new("RGB", (1, 1)).save(root / "class0/one pixel.PNG")
    Image.new("RGB", (1, 4000)).save(root / "class0/needle.png")
    (root / "class0/notes.txt").write_text("no image, and not named like one")
    (root / "class0/.hidden.jpg").write_text("what macOS leaves beside images")
    deeper = root / "class0/2024/June"
    deeper.mkdir(parents=True)
    Image.new("RGB", (5, 5)).save(deeper / "日本 ñ.png")
    Image.new("L", (5, 6)).save(os.fsencode(deeper) + b"/latin-\xe9.png")
    (root / "class0/2024/again").symlink_to(root / "class0")  # a circle
    os.mkfifo(root / "class0/pipe.jpg")
    data = folder(root)
    names = data.image_names(range(len(data.index)))
    assert len(names) == 18 + 5
    assert "class0/2024/June/日本 ñ.png" in names
    assert "class0/2024/June/latin-\\xe9.png" in names
    "".join(names).encode()  # every name can be written to a UTF-8 file


def test_a_linked_folder_is_read_like_any_other(make_folder, folder, tmp_path):
    root, elsewhere = make_folder(), make_folder((3,), below="elsewhere", seed=9)
    (root / "class3").symlink_to(elsewhere / "class0")
    assert folder(root).classes == ["class0", "class1", "class2", "class3"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_permissions(make_folder, folder):
    root = make_folder()
    (root / "class1/000.png").chmod(0)
    with pytest.raises(DataError, match="permission denied"):
        folder(root)


@pytest.fixture
def refuse(monkeypatch):
    """Let reading each file called 002.png end in an error of the system."""
    real = Path.read_bytes

    def refuse(error: OSError) -> None:
        def read_bytes(path):
            if path.name == "002.png":
                raise error
            return real(path)

        monkeypatch.setattr(Path, "read_bytes", read_bytes)

    return refuse


def test_a_permission_that_is_given_later_counts_at_once(make_folder, folder, refuse, monkeypatch):
    root = make_folder()
    refuse(PermissionError(13, "Permission denied"))
    monkeypatch.setattr(store, "readable", lambda path: False)
    for _ in range(2):
        with pytest.raises(
            DataError, match=r"3 of 18 images.*\n.*class0/002\.png \(cannot be opened: permission denied"
        ):
            folder(root)
    monkeypatch.undo()
    assert folder(root).summary()["skipped"] == 0  # although no file has changed


def test_a_file_that_cannot_be_read_to_its_end_is_bad_at_each_start(make_folder, folder, refuse, monkeypatch):
    """As behind a bad sector: it can be opened, and its first byte read."""
    root = make_folder()
    refuse(OSError(5, "Input/output error"))
    assert folder(root, on_bad_image="skip").summary()["skipped"] == 3

    def read_all(*_):
        raise AssertionError("the images were decoded again")

    monkeypatch.setattr(store, "read_all", read_all)
    with pytest.raises(DataError, match=r"002\.png \(cannot be opened: input/output error"):
        folder(root)


def test_a_class_of_which_nothing_is_left_is_named(make_folder, folder):
    root = make_folder((4, 4, 1))
    (root / "class2/000.png").write_bytes(b"")
    with pytest.raises(DataError, match="class2"):
        folder(root, on_bad_image="skip")


@pytest.fixture
def deadly(make_folder, monkeypatch, tmp_path):
    """Return a folder of 80 images, and a function that gives the fault at the processes that decode one of them."""
    root, left = make_folder((40, 40)), tmp_path / "left"
    victim = root / "class0/013.png"
    victim.write_bytes(victim.read_bytes() + b"deadly")
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setattr("visionlab.data.building.SMALL", 0)

    def occur(fault: str, times: int) -> None:
        left.write_bytes(b"x" * times)
        (site / "sitecustomize.py").write_text(
            "import os, signal\n"
            "from PIL import Image\n"
            "opened = Image.open\n"
            "def open(file, *rest, **more):\n"
            f"    if file.read().endswith(b'deadly') and (size := os.path.getsize({str(left)!r})):\n"
            f"        os.truncate({str(left)!r}, size - 1)\n"
            f"        {fault}\n"
            "    file.seek(0)\n"
            "    return opened(file, *rest, **more)\n"
            "Image.open = open\n"
        )

    return root, occur


CRASH, KILL, SHORT = "os.kill(os.getpid(), signal.SIGSEGV)", "os.kill(os.getpid(), signal.SIGKILL)", "raise MemoryError"


def test_a_decoder_that_crashes_costs_one_image(deadly, folder):
    """The processes that decode are killed by one image, as by a decoder's bug; all others are read."""
    root, occur = deadly
    occur(CRASH, 99)
    with pytest.raises(DataError, match=r"1 of 80 images cannot be read:\n.*013\.png \(the decoder crashes on it\)"):
        folder(root, workers=2)
    assert folder(root, on_bad_image="skip").summary()["skipped"] == 1


@pytest.mark.parametrize(("fault", "times"), [(KILL, 2), (SHORT, 1)])
def test_a_fault_that_passes_costs_no_image(deadly, folder, fault, times):
    root, occur = deadly
    occur(fault, times)
    assert folder(root, workers=2).summary()["skipped"] == 0


@pytest.mark.parametrize(("fault", "why"), [(KILL, "crashes"), (SHORT, "not enough memory")])
def test_an_image_is_tried_again_when_what_failed_may_not_be_the_image(deadly, folder, fault, why):
    root, occur = deadly
    occur(fault, 99)
    for _ in range(2):
        with pytest.raises(DataError, match=rf"1 of 80 images cannot be read:\n.*013\.png \(.*{why}"):
            folder(root, workers=2)
    occur(fault, 0)
    assert folder(root, workers=2).summary()["skipped"] == 0  # although no file has changed


def test_a_cache_that_cannot_be_written_keeps_what_it_says(tmp_path, monkeypatch):
    """On a read-only file system removing what is not there fails, too."""
    file = tmp_path / "images.npz"
    np.savez(file, rows=np.arange(3))

    def refused(*_, **__):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(np, "savez", refused)
    monkeypatch.setattr(Path, "unlink", refused)
    store._tried(file)
    assert np.load(file)["rows"].tolist() == [0, 1, 2]
