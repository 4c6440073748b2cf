"""Places that are not folders of this machine: URLs of file systems that `fsspec` knows; in memory,
and on a server that speaks S3."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("upath")

from fsspec.implementations.memory import MemoryFileSystem
from safetensors.numpy import save

from probebench import files
from probebench.across.listing import free, freeable, runs_under
from probebench.api import evaluate
from probebench.cli.main import main
from probebench.errors import UnavailableError, UsageError, WriteError
from probebench.files import elsewhere, joined, located, place, seen_from, write_atomic
from probebench.job.preview.sizes import free_at
from probebench.record.run import Run
from probebench.stages.tokens.read import TokenVectors
from probebench.states.reader import StatesReader
from probebench.store.lock import Lock
from probebench.store.shards import ShardStore

SMALL = {"limit": 100, "skip": ["p-true", "shuffles"], "layers": [2, 5], "seed": 0}


@pytest.fixture
def memory():
    yield "memory://bucket"
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


def test_paths_and_urls(tmp_path):
    assert located(str(tmp_path)) == tmp_path == located(tmp_path) == located(f"file://{tmp_path}")
    assert located("C:/runs/x") == Path("C:/runs/x")
    there = located("memory://bucket/runs/x")
    assert elsewhere(there)
    assert not elsewhere(tmp_path)
    assert located(there) is there
    assert seen_from(there, there / "stages" / "states-1") == "stages/states-1"
    assert seen_from(tmp_path, there) == "memory://bucket/runs/x"
    assert joined(tmp_path, "memory://bucket/runs/x") == there
    assert free_at(there) is None
    assert joined(there, "stages/states-1") == there / "stages" / "states-1"
    assert joined(there, seen_from(there, tmp_path / "states")) == tmp_path / "states"


def test_a_file_system_that_cannot_be_used_is_named(monkeypatch):
    import fsspec

    with pytest.raises(UsageError, match=r"in a chain .*Give s3://bucket/runs\.$"):
        located("simplecache::s3://bucket/runs")
    with pytest.raises(UsageError, match="no file system is known as s4://"):
        located("s4://bucket/runs")

    def missing(protocol):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec, "get_filesystem_class", missing)
    with pytest.raises(UsageError, match=r"Install s3fs to access S3.*probebench\[s3\]"):
        located("s3://bucket/runs")


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (PermissionError("Access Denied"), "no rights .Access Denied.*environment"),
        (type("NoCredentialsError", (Exception,), {})("Unable to locate"), "give them in the env"),
        (TimeoutError("no answer\nyet"), "cannot be reached: no answer yet"),
    ],
    ids=["rights", "credentials", "connection"],
)
def test_what_a_file_system_says_is_one_line(memory, monkeypatch, error, says):
    def refuse(*args, **options):
        raise error

    monkeypatch.setattr(MemoryFileSystem, "ls", refuse)
    with pytest.raises(UnavailableError, match=says) as caught:
        place(f"{memory}/runs")
    assert "\n" not in str(caught.value)
    monkeypatch.setattr(MemoryFileSystem, "_open", refuse)
    with pytest.raises(WriteError, match="Cannot write memory://.*3 bytes: .*same command"):
        write_atomic(located(f"{memory}/runs/x"), b"abc")


def test_the_content_is_there_before_a_list_names_it(memory, monkeypatch):
    written, put = [], files._put
    monkeypatch.setattr(
        files, "_put", lambda path, content: (put(path, content), written.append(path.name))
    )
    store = ShardStore(located(memory), "x", {})
    store.write("0.bin", b"a")
    assert written == ["manifest.jsonl", "0.bin", "manifest.jsonl"]
    other = ShardStore(located(memory), "x", {}, "other")
    other.write("1.bin", b"b")
    again = ShardStore(located(memory), "x", {})
    assert [again.has(name) for name in ("0.bin", "1.bin", "2.bin")] == [True, True, False]
    located(f"{memory}/{again.place}/0.bin").write_bytes(b"torn")
    assert not again.has("0.bin")


def test_nothing_is_locked_and_nothing_deleted_where_it_fails(memory):
    folder = located(f"{memory}/run")
    write_atomic(folder / "stages" / "x-1" / "0.bin", b"work")
    with pytest.raises(ZeroDivisionError), Lock(folder):
        raise ZeroDivisionError
    assert (folder / "stages" / "x-1" / "0.bin").read_bytes() == b"work"


def test_tokens_inside_answers_are_read_from_anywhere(memory):
    values = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    scores = np.arange(6, dtype=np.float32).reshape(2, 3)
    file = located(f"{memory}/0.safetensors")
    write_atomic(file, save({"values": values, "scores": scores}))
    found = TokenVectors(SimpleNamespace(files=(file,)), np.array([2, 0, 1]))
    assert np.array_equal(found.layer(1), values[1][[2, 0, 1]])
    assert np.array_equal(found.scores(), scores[:, [2, 0, 1]])


def plain(run):
    """A record but for what differs between two runs of one thing."""
    record = run.record.plain()
    settings = {name: value for name, value in record["settings"].items() if name != "out"}
    return record | {"timing": None, "settings": settings}


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    return evaluate("tiny", "people", out=str(tmp_path_factory.mktemp("local") / "run"), **SMALL)


@pytest.fixture(scope="module")
def bucket():
    """A bucket on a server that speaks S3, and nothing but the environment says where it is."""
    boto3, server = pytest.importorskip("boto3"), pytest.importorskip("moto.server")
    pytest.importorskip("s3fs")
    running = server.ThreadedMotoServer(port=0, verbose=False)
    running.start()
    told = {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{running.get_host_and_port()[1]}",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in told.items():
            patch.setenv(name, value)
        boto3.client("s3").create_bucket(Bucket="bucket")
        yield "s3://bucket"
    running.stop()


@pytest.fixture(scope="module")
def remote(bucket):
    return evaluate("tiny", "people", out=f"{bucket}/runs/people", **SMALL)


def test_a_run_on_s3_is_the_run_on_the_disk(local, remote):
    assert plain(remote) == plain(local)
    for name in local.record.files:
        if not name.endswith(".pdf"):
            assert (remote.folder / name).read_bytes() == (local.folder / name).read_bytes(), name
    shards = sorted(local.folder.glob("stages/[!b]*/0*"))
    assert len(shards) > 5
    for path in shards:
        there = remote.folder / path.relative_to(local.folder).as_posix()
        assert there.read_bytes() == path.read_bytes(), path


def test_a_finished_run_is_found_on_s3(remote):
    assert evaluate("tiny", "people", out=str(remote.folder), **SMALL).resumed


def stamps(run):
    return {
        path: facts["LastModified"]
        for path, facts in run.folder.fs.find(run.folder.path, detail=True).items()
        if "/stages/" in path and not path.endswith("manifest.jsonl")
    }


def test_a_run_goes_on_from_what_lies_on_s3(remote):
    before = stamps(remote)
    shard = next(path for path in before if "/states-" in path and path.endswith("0.safetensors"))
    content = remote.folder.fs.cat_file(shard)
    remote.folder.fs.pipe_file(shard, content[:-1])  # what a store without whole writes may hold
    (remote.folder / "record.json").unlink()
    again = evaluate("tiny", "people", out=str(remote.folder), **SMALL)
    assert not again.resumed
    assert plain(again) == plain(remote)
    assert remote.folder.fs.cat_file(shard) == content
    after = stamps(again)
    assert {path for path in after if after[path] != before.get(path)} == {shard}


def test_one_cell_is_read_by_ranges_of_its_bytes(local, remote, monkeypatch):
    from s3fs import S3FileSystem

    asked, call = [], S3FileSystem._call_s3

    async def counted(fs, method, *args, **options):
        if method == "get_object":
            first, last = options["Range"].removeprefix("bytes=").split("-")
            asked.append(int(last) - int(first) + 1)
        return await call(fs, method, *args, **options)

    monkeypatch.setattr(S3FileSystem, "_call_s3", counted)
    reader = StatesReader.open(joined(remote.folder, remote.record.states))
    position = reader.positions[0]
    opened, n = sum(asked), len(reader.files)
    found = reader.cell(5, position)
    width = found.shape[1]
    assert sum(asked) - opened <= len(found) * width * 2 + n * 4096
    assert min(asked[-n:]) == min(map(len, reader.order)) * width * 2, "of the cell alone"
    whole = sum(path.stat().st_size for path in map(located, reader.files))
    assert sum(asked[-n:]) * 20 < whole
    np.testing.assert_array_equal(found, local.states().cell(5, position))


@pytest.mark.parametrize(
    "command",
    [
        "report RUN --formats md",
        "plot RUN",
        "answers RUN",
        "states info RUN",
        "states verify RUN",
        "compare RUN RUN --detector-b logit_mean",
        "runs s3://bucket",
    ],
)
def test_views_read_a_run_on_s3(remote, command):
    found = CliRunner().invoke(main, command.replace("RUN", str(remote.folder)).split())
    assert found.exit_code == 0, found.output
    assert not Path("s3:").exists()


def test_what_lies_on_s3_is_listed_and_freed(remote):
    (listed,) = runs_under(place("s3://bucket"))
    assert (listed.folder, listed.state, listed.has_states) == (remote.folder, "finished", True)
    assert listed.n_bytes > 100_000
    stages = freeable([listed])
    assert free(stages).failed == {}
    assert not any(own.place.exists() for own in stages)
    assert Run.load(remote.folder).has_states


def test_no_bucket_is_said_before_anything_is_computed(bucket):
    with pytest.raises(UsageError, match="s3://nobucket/runs cannot be used: there is no nobucket"):
        evaluate("tiny", "people", out="s3://nobucket/runs", **SMALL)
    with pytest.raises(WriteError, match="Cannot write s3://nobucket/x, 1 bytes"):
        write_atomic(located("s3://nobucket/x"), b"a")
