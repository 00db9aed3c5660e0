"""Nothing is fetched silently; what is fetched is whole, or goes on where it stopped."""

import hashlib
import io
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from visionlab.data.download import Source
from visionlab.errors import DataError


def tar_of(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return packed.getvalue()


ARCHIVE = tar_of({"pictures/a.bin": bytes(range(256)) * 400, "pictures/b.txt": b"hello"})


class Server(ThreadingHTTPServer):
    """Serves the archive; breaks off after `limit` bytes; understands ranges unless told not to; says `raw` alone."""

    content, limit, ranges, raw, kind = ARCHIVE, None, True, None, "application/gzip"

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked = []


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        asked = self.headers.get("Range")
        self.server.asked.append(asked)
        if self.server.raw is not None:
            self.wfile.write(self.server.raw)
            return
        start = int(asked[6:-1]) if asked and self.server.ranges else 0
        content = self.server.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Type", self.server.kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: self.server.limit])

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    server = Server()
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def source(server=None, **changes) -> Source:
    port = server.server_port if server else 9  # nobody listens there
    known = {"md5": hashlib.md5(ARCHIVE).hexdigest(), "size": len(ARCHIVE), "folder": "pictures", **changes}
    return Source(url=f"http://127.0.0.1:{port}/pictures.tar.gz", **known)


def assert_unpacked(root):
    assert (root / "pictures/b.txt").read_bytes() == b"hello"
    assert sorted(p.name for p in root.iterdir() if not p.name.endswith(".lock")) == ["pictures", "pictures.tar.gz"]


def test_nothing_is_downloaded_unasked(server, tmp_path):
    with pytest.raises(DataError) as error:
        source(server).provide(tmp_path / "set", download=False)
    assert server.asked == []
    assert "data.download=true" in error.value.remedy
    assert "pictures.tar.gz" in error.value.remedy
    assert str(tmp_path / "set") in error.value.remedy
    assert not (tmp_path / "set").exists()


def test_download(server, tmp_path):
    source(server).provide(tmp_path / "set", download=True)
    assert_unpacked(tmp_path / "set")


def test_an_archive_that_was_put_there_by_hand_is_unpacked_without_a_network(tmp_path):
    (tmp_path / "pictures.tar.gz").write_bytes(ARCHIVE)
    source().provide(tmp_path, download=False)
    assert_unpacked(tmp_path)


@pytest.mark.parametrize("ranges", [True, False])
def test_an_interrupted_download_goes_on(server, tmp_path, ranges):
    server.limit = 700
    with pytest.raises(DataError, match="in part only"):
        source(server).provide(tmp_path, download=True)
    assert not (tmp_path / "pictures.tar.gz").exists()
    assert not (tmp_path / "pictures").exists()
    server.limit, server.ranges = None, ranges
    source(server).provide(tmp_path, download=True)
    assert server.asked == [None, "bytes=700-"]
    assert_unpacked(tmp_path)


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % len(ARCHIVE)


@pytest.mark.parametrize("raw", [CHUNKED + ARCHIVE[:900], b"nonsense\r\n\r\n"])
def test_an_answer_that_breaks_the_protocol_is_an_interruption(server, tmp_path, raw):
    server.raw = raw
    with pytest.raises(DataError, match="in part only"):
        source(server).provide(tmp_path, download=True)
    server.raw = None
    source(server).provide(tmp_path, download=True)
    assert_unpacked(tmp_path)


@pytest.mark.parametrize("kind", ["text/html", "text/plain"])
def test_a_page_instead_of_the_archive_is_no_part_of_it(server, tmp_path, kind):
    server.content, server.kind = b"<html>log in</html>", kind
    with pytest.raises(DataError, match=f"19 bytes of {kind} instead of") as error:
        source(server).provide(tmp_path, download=True)
    assert "browser" in error.value.remedy
    assert not list(tmp_path.glob("*.part"))


def test_a_server_that_begins_anew_and_breaks_off_takes_nothing_away(server, tmp_path):
    (tmp_path / "pictures.tar.gz.part").write_bytes(ARCHIVE[:-9])
    server.limit, server.ranges = 50, False
    with pytest.raises(DataError, match="in part only"):
        source(server).provide(tmp_path, download=True)
    server.limit, server.ranges = None, True
    source(server).provide(tmp_path, download=True)
    assert server.asked == [f"bytes={len(ARCHIVE) - 9}-"] * 2
    assert_unpacked(tmp_path)


def test_a_wrong_checksum_leaves_nothing_under_the_final_name(server, tmp_path):
    server.content = ARCHIVE[:-1] + b"x"
    with pytest.raises(DataError, match="arrived damaged"):
        source(server).provide(tmp_path, download=True)
    assert [path.name for path in tmp_path.iterdir() if not path.name.endswith(".lock")] == []
    (tmp_path / "pictures.tar.gz").write_bytes(ARCHIVE[:-5])
    with pytest.raises(DataError, match="is damaged"):
        source(server).provide(tmp_path, download=False)
    assert not (tmp_path / "pictures").exists()


def test_without_a_network_the_message_says_which_file_to_put_where(tmp_path):
    with pytest.raises(DataError, match="cannot be downloaded") as error:
        source().provide(tmp_path, download=True)
    assert (
        f"put the file pictures.tar.gz from http://127.0.0.1:9/pictures.tar.gz into {tmp_path}/" in error.value.remedy
    )


def test_a_page_that_is_not_found_is_said_to_be_so(server, tmp_path):
    server.RequestHandlerClass = type("Gone", (Handler,), {"do_GET": lambda self: self.send_error(404)})
    with pytest.raises(DataError, match="Not Found"):
        source(server).provide(tmp_path, download=True)


def test_an_archive_inside_the_archive(tmp_path):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("outer/inner.tar.gz", ARCHIVE)
    (tmp_path / "outer.zip").write_bytes(packed.getvalue())
    md5 = hashlib.md5(packed.getvalue()).hexdigest()
    inner = Source("http://127.0.0.1:9/outer.zip", md5, len(packed.getvalue()), "pictures", inner="outer/inner.tar.gz")
    (tmp_path / ".unpacking-left by a kill").mkdir()
    inner.provide(tmp_path, download=False)
    assert (tmp_path / "pictures/b.txt").read_bytes() == b"hello"
    assert not list(tmp_path.glob(".unpacking-*"))


def test_an_archive_cannot_write_outside_its_folder(tmp_path):
    evil = tar_of({"pictures/a": b"", "../outside.txt": b"harm"})
    root = tmp_path / "set"
    root.mkdir()
    (root / "pictures.tar.gz").write_bytes(evil)
    with pytest.raises((DataError, tarfile.TarError)):
        source(md5=hashlib.md5(evil).hexdigest(), size=len(evil)).provide(root, download=False)
    assert not (tmp_path / "outside.txt").exists()
    assert not (root / "pictures").exists()
