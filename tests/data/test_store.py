"""Images are decoded once; what the cache holds is whole and right, whatever happened while it was filled."""

import errno
import hashlib
import itertools
import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from visionlab.data import building, cache, store
from visionlab.data.files import class_folders
from visionlab.data.store import open_store
from visionlab.data.synthetic import Synthetic
from visionlab.data.transform import Transform
from visionlab.errors import DataError

TO = Transform(size=(8, 8), resize="stretch")


def build(root: Path, cache_dir: Path, report: Path) -> int:
    """Open the store in a forked process, which needs no new imports; it writes whether it built it, and a sum."""
    child = os.fork()
    if child:
        return child
    try:
        building.SMALL = 0
        built = []
        real = store.read_all
        store.read_all = lambda *given: built.append(1) or real(*given)
        opened = open_store(class_folders(root), TO, cache_dir=cache_dir, workers=2)
        report.write_text(f"{len(built)} {int(opened.pixels.sum())}")
    finally:
        os._exit(0)


def expected(root: Path) -> np.ndarray:
    files = sorted(root.glob("*/*.png"))
    return np.stack([np.asarray(Image.open(file).resize((8, 8), Image.Resampling.BILINEAR)) for file in files])


@pytest.fixture
def unread(monkeypatch):
    """Return a function that makes any decoding from then on a failure."""

    def forbid():
        def read_all(*_):
            raise AssertionError("the images were decoded again")

        monkeypatch.setattr(store, "read_all", read_all)

    return forbid


def test_pixels_digests_and_sizes(make_folder, tmp_path):
    root = make_folder()
    opened = open_store(class_folders(root), TO, cache_dir=tmp_path / "cache")
    np.testing.assert_array_equal(opened.pixels.permute(0, 2, 3, 1).numpy(), expected(root))
    assert opened.sizes.tolist() == [[12, 16]] * 18
    assert len(np.unique(opened.digests, axis=0)) == 18
    assert opened.gather(np_rows := opened.pixels.new_tensor([3, 1], dtype=int)).equal(opened.pixels[np_rows])


@pytest.mark.parametrize("workers", [1, 3])
def test_processes_read_what_one_reads(make_folder, tmp_path, monkeypatch, workers):
    root = make_folder((100, 100))
    monkeypatch.setattr(building, "SMALL", 0)
    monkeypatch.setattr(building, "CHUNK_BYTES", 3 * 8 * 8 * 7)  # several rounds, the last one shorter
    opened = open_store(class_folders(root), TO, cache_dir=tmp_path / "cache", workers=workers)
    np.testing.assert_array_equal(opened.pixels.permute(0, 2, 3, 1).numpy(), expected(root))


@pytest.fixture
def customized(monkeypatch, tmp_path):
    """Return a function that has processes which are started from then on run something first."""

    def customize(code: str) -> None:
        (tmp_path / "site").mkdir()
        (tmp_path / "site/sitecustomize.py").write_text(code)
        monkeypatch.syspath_prepend(str(tmp_path / "site"))
        monkeypatch.setattr(building, "SMALL", 0)

    return customize


def test_what_others_print_is_no_answer_of_a_reader(make_folder, tmp_path, customized):
    root = make_folder()
    customized("from PIL import Image\nImage.preinit = lambda: print('late')\nprint('hello')\nprint('there', end='')")
    opened = open_store(class_folders(root), TO, cache_dir=tmp_path / "cache", workers=1)
    np.testing.assert_array_equal(opened.pixels.permute(0, 2, 3, 1).numpy(), expected(root))


def test_a_file_of_the_current_folder_is_no_module_of_a_reader(make_folder, tmp_path, monkeypatch):
    root = make_folder()
    (tmp_path / "copy.py").write_text("raise SystemExit('not what was meant')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(building, "SMALL", 0)
    opened = open_store(class_folders(root), TO, cache_dir=tmp_path / "cache", workers=1)
    np.testing.assert_array_equal(opened.pixels.permute(0, 2, 3, 1).numpy(), expected(root))


def test_a_reader_that_does_not_start_is_not_the_images_fault(make_folder, tmp_path, customized):
    customized("import os\nos.write(2, b'no numpy here')\nos._exit(3)")
    with pytest.raises(DataError, match=r"does not start; it says last:\n *no numpy here"):
        open_store(class_folders(make_folder()), TO, cache_dir=tmp_path / "cache", workers=2)
    assert [path for path in (tmp_path / "cache/images").iterdir() if path.is_dir()] == []


def test_the_second_start_decodes_nothing(make_folder, tmp_path, unread):
    index = class_folders(make_folder())
    first = open_store(index, TO, cache_dir=tmp_path / "cache")
    unread()
    assert open_store(index, TO, cache_dir=tmp_path / "cache").pixels.equal(first.pixels)
    for other in ({"resize": "crop"}, {"crop_ratio": 0.5}, {"size": (4, 16)}):
        with pytest.raises(AssertionError, match="decoded again"):
            open_store(index, replace(TO, **other), cache_dir=tmp_path / "cache")


@pytest.mark.parametrize("change", ["content", "added", "removed", "renamed"])
def test_a_changed_folder_is_read_again(make_folder, tmp_path, change):
    root = make_folder()
    open_store(class_folders(root), TO, cache_dir=tmp_path / "cache")
    file = root / "class0/000.png"
    if change == "content":
        before = file.stat()
        Image.new("RGB", (16, 12), "red").save(file)
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    elif change == "added":
        Image.new("RGB", (16, 12), "red").save(root / "class0/0000.png")
    elif change == "removed":
        file.unlink()
    else:
        file.rename(root / "class1/900.png")
    opened = open_store(class_folders(root), TO, cache_dir=tmp_path / "cache")
    np.testing.assert_array_equal(opened.pixels.permute(0, 2, 3, 1).numpy(), expected(root))


def test_the_same_names_elsewhere_are_other_images(make_folder, tmp_path):
    one, other = make_folder(below="one"), make_folder(below="other", seed=1)
    for file in other.glob("*/*.png"):  # even of the same size and time
        like = one / file.relative_to(other)
        file.write_bytes(file.read_bytes().ljust(like.stat().st_size, b"\0")[: like.stat().st_size])
        os.utime(file, ns=(like.stat().st_atime_ns, like.stat().st_mtime_ns))
    opened = [open_store(class_folders(root), TO, cache_dir=tmp_path / "cache") for root in (one, other)]
    assert not opened[0].pixels.equal(opened[1].pixels)


def test_a_damaged_store_is_built_again(make_folder, tmp_path):
    index = class_folders(make_folder())
    whole = open_store(index, TO, cache_dir=tmp_path / "cache").pixels.clone()
    for damage, left in itertools.product(("pixels.bin", "images.npz"), (-100, 0)):
        (file,) = (tmp_path / "cache").glob(f"images/*/{damage}")
        file.write_bytes(file.read_bytes()[:left])
        assert open_store(index, TO, cache_dir=tmp_path / "cache").pixels.equal(whole)


def test_a_kill_in_the_middle_leaves_nothing_that_is_trusted(make_folder, tmp_path):
    root = make_folder((150, 150), size=(64, 64))
    images = tmp_path / "cache/images"
    child = build(root, tmp_path / "cache", tmp_path / "report")
    deadline = time.monotonic() + 60
    while not list(images.glob("*.partial-*/pixels.bin")):
        assert time.monotonic() < deadline
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert not (tmp_path / "report").exists()
    assert [path.name for path in images.iterdir() if path.is_dir() and cache.PARTIAL not in path.name] == []
    opened = open_store(class_folders(root), TO, cache_dir=tmp_path / "cache")
    np.testing.assert_array_equal(opened.pixels.permute(0, 2, 3, 1).numpy(), expected(root))
    assert len([path for path in images.iterdir() if path.is_dir()]) == 1  # the rest was swept up


def test_builders_at_once_build_once(make_folder, tmp_path):
    root = make_folder((300, 300))
    for child in [build(root, tmp_path / "cache", tmp_path / f"report{number}") for number in range(3)]:
        os.waitpid(child, 0)
    reports = [(tmp_path / f"report{number}").read_text().split() for number in range(3)]
    assert sorted(built for built, _ in reports) == ["0", "0", "1"]
    assert {int(total) for _, total in reports} == {int(expected(root).astype(int).sum())}


def test_too_little_room_is_named_before_anything_is_read(make_folder, tmp_path, monkeypatch, unread):
    index = class_folders(make_folder())
    unread()
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DataError, match=r"need 0 MiB.* 0 MiB free") as error:
        open_store(index, TO, cache_dir=tmp_path / "cache")
    assert "data.cache_dir" in error.value.remedy
    assert str(tmp_path) in error.value.where


def test_a_disk_that_fills_up_leaves_nothing(make_folder, tmp_path, monkeypatch):
    index = class_folders(make_folder())

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store, "read_all", full)
    with pytest.raises(DataError, match="disk of the cache is full"):
        open_store(index, TO, cache_dir=tmp_path / "cache")
    assert [path for path in (tmp_path / "cache/images").iterdir() if path.is_dir()] == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
@pytest.mark.parametrize("small", [0, 10**9])
def test_a_failed_write_is_an_error_of_the_reader_too(make_folder, monkeypatch, small):
    monkeypatch.setattr(building, "SMALL", small)
    with pytest.raises(OSError, match="No space left") as error:
        building.read_all(class_folders(make_folder()), TO, Path("/dev/full"), 2)
    assert error.value.errno == errno.ENOSPC


def test_an_unusable_cache_is_named(make_folder, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot write decoded images"):
        open_store(class_folders(make_folder()), TO, cache_dir=tmp_path / "file")


def test_the_cache_follows_the_environment(make_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("VISIONLAB_CACHE", str(tmp_path / "mine"))
    open_store(class_folders(make_folder()), TO)
    assert list((tmp_path / "mine/images").iterdir())
    monkeypatch.delenv("VISIONLAB_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.default_cache() == tmp_path / "xdg/visionlab"


def test_more_pixels_than_memory_are_mapped(tmp_path):
    rows = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * 2 // 3072
    with (tmp_path / "pixels.bin").open("wb") as file:
        file.truncate(rows * 3072)  # a hole, which takes no room
        file.seek((rows - 1) * 3072)
        file.write(b"\7" * 3072)
    pixels = store.map_pixels(tmp_path / "pixels.bin", (rows, 3, 32, 32))
    assert store.gather(pixels, pixels.new_tensor([0, rows - 1], dtype=int)).amax((1, 2, 3)).tolist() == [0, 7]


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="needs Linux's account of memory")
def test_reading_adds_no_copy_of_the_pixels_to_memory(make_folder, tmp_path):
    opened = open_store(class_folders(make_folder((50, 50))), Transform(size=(64, 64)), cache_dir=tmp_path / "cache")
    for row in range(100):
        opened.gather(opened.pixels.new_tensor([row], dtype=int))
    areas = Path("/proc/self/smaps").read_text().split(str(tmp_path / "cache"))
    private = [line for line in areas[1].splitlines()[:24] if line.startswith("Private_Dirty")]
    assert private[0].split() == ["Private_Dirty:", "0", "kB"]


def test_no_room_for_computed_images_is_named(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store, "reserve", full)
    data = Synthetic(name="noise", root=tmp_path, images=10)
    with pytest.raises(DataError, match="full") as error:
        data.setup()
    assert "TMPDIR" in error.value.remedy


def test_a_cache_may_be_of_several_users(make_folder, tmp_path):
    before = os.umask(0o002)
    try:
        open_store(class_folders(make_folder()), TO, cache_dir=tmp_path / "cache")
    finally:
        os.umask(before)
    (folder,) = (path for path in (tmp_path / "cache/images").iterdir() if path.is_dir())
    assert folder.stat().st_mode & 0o777 == 0o775
    assert all(file.stat().st_mode & 0o777 == 0o664 for file in folder.iterdir())


def test_what_another_user_left_is_told_before_all_is_decoded(make_folder, tmp_path, monkeypatch, unread):
    index = class_folders(make_folder())
    open_store(index, TO, cache_dir=tmp_path / "cache")
    (file,) = tmp_path.glob("cache/images/*/images.npz")
    file.write_bytes(b"")  # as good as unreadable, which root cannot be shown
    monkeypatch.setattr(cache.shutil, "rmtree", lambda *_, **__: None)
    unread()
    with pytest.raises(DataError, match="another user"):
        open_store(index, TO, cache_dir=tmp_path / "cache")


def test_what_a_killed_builder_of_another_user_left_stops_nobody(make_folder, tmp_path, monkeypatch):
    (tmp_path / "cache/images" / "theirs.partial-0").mkdir(parents=True)
    real = cache._lock_path
    theirs = str(tmp_path / "none" / "theirs.lock")
    monkeypatch.setattr(cache, "_lock_path", lambda owner: theirs if owner.name == "theirs" else real(owner))
    (tmp_path / "none").write_text("no folder, as a lock that may not be opened")
    assert len(open_store(class_folders(make_folder()), TO, cache_dir=tmp_path / "cache").digests)


def test_another_pillow_tries_anew_what_the_last_one_could_not_read(make_folder, tmp_path, monkeypatch):
    index = class_folders(make_folder())
    with monkeypatch.context() as patch:
        patch.delitem(Image.OPEN, "PNG")
        failed = open_store(index, TO, cache_dir=tmp_path / "cache", workers=1)
    assert len(failed.errors) == len(index)
    assert open_store(index, TO, cache_dir=tmp_path / "cache", workers=1).errors == failed.errors
    monkeypatch.setattr(store.PIL, "__version__", "99.0")
    assert open_store(index, TO, cache_dir=tmp_path / "cache", workers=1).errors == {}


@pytest.mark.parametrize("mine", [True, False], ids=["own", "another-users"])
def test_another_pillow_tries_once_what_it_cannot_read_either(make_folder, tmp_path, monkeypatch, mine):
    index = class_folders(make_folder())
    (index.root / index.names[0]).write_bytes(b"no image")
    first = open_store(index, TO, cache_dir=tmp_path / "cache", workers=1)
    assert list(first.errors) == [0]
    monkeypatch.setattr(store.PIL, "__version__", "99.0")
    tried, read_alone = [], store.read_alone
    monkeypatch.setattr(
        store, "read_alone", lambda index, to, file, rows: tried.append(list(rows)) or read_alone(index, to, file, rows)
    )
    if not mine:
        monkeypatch.setattr(store.np, "savez", lambda *_, **__: (_ for _ in ()).throw(PermissionError(13, "not yours")))
    for _ in range(3):
        found = open_store(index, TO, cache_dir=tmp_path / "cache", workers=1)
        assert found.errors == first.errors and (found.digests == first.digests).all()
        assert found.pixels.equal(first.pixels)
    assert [rows for rows in tried if rows] == [[0]] * (1 if mine else 3)
    assert {path.name for path in next((tmp_path / "cache/images").glob("*/")).iterdir()} == {
        "images.npz",
        "pixels.bin",
    }


def test_a_builder_leaves_what_another_is_at_work_on(make_folder, tmp_path):
    """Two sets in one cache: whoever is there first has his folder under another name yet."""
    theirs = tmp_path / "cache/images" / "theirs"
    partial = theirs.with_name(f"theirs{cache.PARTIAL}0")
    partial.mkdir(parents=True)
    with cache._locked(theirs):
        open_store(class_folders(make_folder()), TO, cache_dir=tmp_path / "cache")
        assert partial.exists()
    open_store(class_folders(make_folder(below="more")), TO, cache_dir=tmp_path / "cache")
    assert not partial.exists()


def test_stores_from_before_a_key_of_the_transform_are_found_again(tmp_path):
    """The name as it was when only size, resize and crop_ratio were known."""
    index = SimpleNamespace(root=tmp_path, names=["a/b.png"], stamps=np.arange(2))
    before = {"size": (8, 8), "resize": "crop", "crop_ratio": 1.0}
    digest = hashlib.sha256(json.dumps([store.VERSION, before, os.path.realpath(tmp_path)]).encode())
    digest.update(b"a/b.png" + np.arange(2).tobytes())
    assert store.key(index, Transform((8, 8))) == digest.hexdigest()[:32]
    assert store.key(index, Transform((8, 8), white=4095)) != digest.hexdigest()[:32]
