import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from probebench.errors import LockedError, RunError, UsageError
from probebench.files import HOST, clean_json, write_atomic, write_json
from probebench.store import lock
from probebench.store.lock import Lock
from probebench.store.shards import ShardStore, manifests


def test_shards_are_found_again(tmp_path):
    ShardStore(tmp_path, "x", {"a": 1}).write("0.bin", b"hello")
    again = ShardStore(tmp_path, "x", {"a": 1})
    assert again.has("0.bin")
    assert again.read("0.bin") == b"hello"
    assert not again.has("1.bin")


def test_other_inputs_never_see_them(tmp_path):
    ShardStore(tmp_path, "x", {"a": 1}).write("0.bin", b"hello")
    assert not ShardStore(tmp_path, "x", {"a": 2}).has("0.bin")


@pytest.mark.parametrize("content", [b"", b"hell", b"hellO", b"hello!"])
def test_corrupt_shard_is_not_believed(tmp_path, content):
    stage = ShardStore(tmp_path, "x", {})
    stage.write("0.bin", b"hello")
    (stage.folder / "0.bin").write_bytes(content)
    assert not ShardStore(tmp_path, "x", {}).has("0.bin")


def test_torn_manifest_line_costs_one_shard(tmp_path):
    stage = ShardStore(tmp_path, "x", {})
    stage.write("0.bin", b"a")
    stage.write("1.bin", b"b")
    stage.manifest.write_bytes(stage.manifest.read_bytes()[:-10])
    again = ShardStore(tmp_path, "x", {})
    assert (again.has("0.bin"), again.has("1.bin")) == (True, False)
    again.write("1.bin", b"b")
    last = ShardStore(tmp_path, "x", {})
    assert last.has("0.bin")
    assert last.has("1.bin")


def test_shard_without_manifest_line_is_redone(tmp_path):
    stage = ShardStore(tmp_path, "x", {})
    (stage.folder / "0.bin").write_bytes(b"left by a kill")
    assert not ShardStore(tmp_path, "x", {}).has("0.bin")


def test_foreign_manifest_in_the_folder_is_not_believed(tmp_path):
    stage = ShardStore(tmp_path, "x", {})
    stage.write("0.bin", b"a")
    lines = stage.manifest.read_text().splitlines()
    stage.manifest.write_text(
        "\n".join([json.dumps(json.loads(lines[0]) | {"key": "other"}), *lines[1:]]) + "\n"
    )
    assert not ShardStore(tmp_path, "x", {}).has("0.bin")


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), PermissionError(13, "no")])
def test_a_list_that_cannot_be_read_is_not_replaced(tmp_path, monkeypatch, error):
    stage = ShardStore(tmp_path, "x", {})
    stage.write("0.bin", b"a")
    before = stage.manifest.read_bytes()

    def broken(path, **how):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_text", broken)
        with pytest.raises(RunError, match=f"Cannot read {stage.manifest}: {error.strerror}"):
            ShardStore(tmp_path, "x", {})
    assert stage.manifest.read_bytes() == before
    monkeypatch.setattr(Path, "read_bytes", broken)
    with pytest.raises(RunError, match=r"Cannot read .*0\.bin"):
        stage.has("0.bin")


def test_failed_write_leaves_nothing(tmp_path, monkeypatch):
    import os

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match="No space left on device"):
        write_atomic(tmp_path / "x.bin", b"abc")
    assert list(tmp_path.iterdir()) == []


def test_second_process_says_so(tmp_path):
    with Lock(tmp_path), pytest.raises(LockedError, match="Another process"), Lock(tmp_path):
        pass
    with Lock(tmp_path):
        pass


def test_several_writers_or_one_alone(tmp_path):
    with Lock(tmp_path, "1-of-2"), Lock(tmp_path, "2-of-2"):
        with pytest.raises(LockedError, match="as 1-of-2, one of several"), Lock(tmp_path):
            pass
        with pytest.raises(LockedError, match="as 2-of-2. Wait"), Lock(tmp_path, "2-of-2"):
            pass
    with Lock(tmp_path), pytest.raises(LockedError, match=f"working in {tmp_path}. Wait"):
        lock.PATIENCE, before = 0.1, lock.PATIENCE
        try:
            with Lock(tmp_path, "1-of-2"):
                pass
        finally:
            lock.PATIENCE = before
    with Lock(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_a_writer_that_was_killed_keeps_no_one_out(tmp_path):
    code = f"""if 1:
        import os
        from pathlib import Path
        from probebench.store.lock import Lock
        Lock(Path({str(tmp_path)!r}), "gone").__enter__()
        os._exit(9)"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == 9
    assert (tmp_path / ".lock-gone").exists()
    with Lock(tmp_path):
        assert not (tmp_path / ".lock-gone").exists()


def test_writers_leave_alone_what_others_write(tmp_path):
    elsewhere = tmp_path / ".x.bin.other-1.tmp"
    elsewhere.write_bytes(b"half")
    with Lock(tmp_path, "a"):
        assert elsewhere.exists()
    with Lock(tmp_path):
        assert not elsewhere.exists()


def test_shards_of_several_writers_are_one_list(tmp_path):
    one, two = (ShardStore(tmp_path, "x", {}, name) for name in ("one", "two"))
    one.write("0.bin", b"a")
    two.write("1.bin", b"b")
    two.write("2.bin", b"c")
    assert not one.has("1.bin")
    one.refresh()
    assert all(one.has(f"{i}.bin") for i in range(3))
    whole = ShardStore(tmp_path, "x", {})
    whole.write("3.bin", b"d")
    names = [path.name for path in manifests(whole.folder)]
    assert names == ["manifest.jsonl", "manifest-one.jsonl", "manifest-two.jsonl"]
    assert sorted(ShardStore(tmp_path, "x", {}).shards) == [f"{i}.bin" for i in range(4)]
    # a writer that begins again goes on with its own list
    ShardStore(tmp_path, "x", {}, "two").write("4.bin", b"e")
    assert len(manifests(whole.folder)[2].read_text().splitlines()) == 4


def test_a_shard_written_twice_is_there_once_and_whole(tmp_path):
    """Two machines may round differently: the last content counts, by whichever list names it."""
    one, two = (ShardStore(tmp_path, "x", {}, name) for name in ("one", "two"))
    one.write("0.bin", b"a")
    two.write("0.bin", b"b")
    again = ShardStore(tmp_path, "x", {})
    assert list(again.shards) == ["0.bin"]
    assert (again.has("0.bin"), again.read("0.bin")) == (True, b"b")
    (again.folder / "0.bin").write_bytes(b"c")
    assert not again.has("0.bin")


def test_a_writer_that_only_looks_writes_nothing(tmp_path):
    ShardStore(tmp_path, "x", {}, "one")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UsageError, match="letters, digits"):
        ShardStore(tmp_path, "x", {}, "1/2")


def test_a_list_that_cannot_be_written_names_no_shard(tmp_path, monkeypatch):
    store = ShardStore(tmp_path, "x", {})
    store.write("0.bin", b"a")
    replace = Path.replace

    def full(path, target):
        if target.name == "manifest.jsonl":
            raise OSError(28, "No space left on device")
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(RunError, match="No space left on device"):
        store.write("1.bin", b"b")
    monkeypatch.undo()
    store.write("2.bin", b"c")
    again = ShardStore(tmp_path, "x", {})
    assert [again.has(f"{i}.bin") for i in range(3)] == [True, False, True]


def test_a_run_that_fails_as_another_begins_does_not_stop_it(tmp_path, monkeypatch):
    import filelock

    folder, acquire, holder = tmp_path / "run", filelock.FileLock.acquire, Lock(tmp_path / "run")
    holder.__enter__()

    def meanwhile(lock, *args, **options):
        monkeypatch.setattr(filelock.FileLock, "acquire", acquire)
        try:
            return acquire(lock, *args, **options)
        finally:
            holder.__exit__(ZeroDivisionError, ZeroDivisionError(), None)
            assert not folder.exists()

    monkeypatch.setattr(filelock.FileLock, "acquire", meanwhile)
    with Lock(folder):
        assert folder.is_dir()
        with pytest.raises(LockedError, match="Another process"), Lock(folder):
            pass


def test_what_a_dead_process_left_half_written_is_removed(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True
    )
    dead, alive = (
        tmp_path / f".x.bin.{HOST}-{pid}.tmp" for pid in (int(done.stdout), os.getppid())
    )
    for path in (dead, alive):
        path.write_bytes(b"half")
    with Lock(tmp_path):
        assert (dead.exists(), alive.exists()) == (False, True)


POSIX_ONLY = {"fcntl", "grp", "posix", "pwd", "resource", "syslog", "termios"}
SOURCES = [
    path
    for folder in ("probebench", "scripts")
    for path in (Path(__file__).parent.parent / folder).rglob("*.py")
]


def test_nothing_is_imported_first_that_windows_lacks():
    for path in SOURCES:
        for node in ast.parse(path.read_text()).body:
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            assert not POSIX_ONLY.intersection(names), path


def test_undefined_numbers_are_null(tmp_path):
    write_json(
        tmp_path / "x.json", {"a": float("nan"), "b": [np.float64("inf"), np.int64(3)], "c": (1.5,)}
    )
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": None, "b": [None, 3], "c": [1.5]}
    assert clean_json({"x": np.bool_(True)}) == {"x": True}


def test_a_run_that_fails_before_it_wrote_leaves_no_folder(tmp_path):
    folder = tmp_path / "runs" / "model" / "task"
    with pytest.raises(ZeroDivisionError), Lock(folder):
        (folder / "stages" / "answers-1").mkdir(parents=True)
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
    own = tmp_path / "mine"
    own.mkdir()
    with pytest.raises(ZeroDivisionError), Lock(own):
        raise ZeroDivisionError
    assert own.is_dir()  # what a user made stays
    assert list(own.iterdir()) == []
    with pytest.raises(ZeroDivisionError), Lock(folder):
        write_atomic(folder / "stages" / "answers-1" / "00000.parquet", b"work")
        raise ZeroDivisionError
    # and so does what was computed
    assert (folder / "stages" / "answers-1" / "00000.parquet").is_file()
