"""Hidden states as vLLM writes them: one safetensors file per request, found again by the token ids
that it holds.

`extract_hidden_states` with the ExampleHiddenStatesConnector writes `<request>.safetensors` with
`hidden_states`, (token, layer, width), and `token_ids`, (token,). A request's name says nothing of
the answer, and the file nothing of its layers. The engine's layer id k is the stream before block
k: 0 is the embedding, and the number of blocks is the last block's output before the final norm
(docs.vllm.ai, "Hidden State Extraction").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from probebench.errors import BadFileError
from probebench.states.importing.arrays import Array, find_arrays, read_ids

STATES, IDS = "hidden_states", "token_ids"


def find_requests(path: Path, sequences: Mapping[str, Sequence[int]]) -> dict[str, Array]:
    """Where each answer's states are, by the answer's id; files of no answer stand under their own
    name.

    A row of `examples.jsonl` or a file's own name says which answer it is of; else the token ids
    do, and answers of the same ids share a file.

    Args:
        path: a folder of such files, with `examples.jsonl` or without; or one file.
        sequences: ids of prompt + answer, by the answer's id.

    Raises:
        BadFileError: no such files, one that cannot be read, or an answer that has none.
    """
    if path.is_dir() and (path / "examples.jsonl").is_file():
        return find_arrays(path, key=STATES, ids=IDS, token_first=True)
    files = sorted(path.rglob("*.safetensors")) if path.is_dir() else [path]
    if not files:
        packed = next(path.rglob("*.safetensors.zst"), None)
        fix = f" {packed.name} is compressed: run zstd -d on these files first." if packed else ""
        raise BadFileError(f"{path} holds no .safetensors file of vLLM's, one per request.{fix}")
    if not path.exists():
        raise BadFileError(
            f"{path} is not there. Give the folder that vLLM's connector wrote to, or one of its "
            "files."
        )
    found, by_ids = {}, {}
    for file in files:
        array = Array(file, STATES, IDS, token_first=True)
        if file.stem in sequences:
            found[file.stem] = array
        else:
            by_ids[tuple(int(i) for i in read_ids(array).ravel())] = array
    for name in sequences:
        if name not in found and tuple(sequences[name]) in by_ids:
            found[name] = by_ids[tuple(sequences[name])]
    if missing := [name for name in sequences if name not in found]:
        raise BadFileError(_no_file(missing, sequences, list(by_ids), len(files)))
    used = {array.file for array in found.values()}
    return found | {str(a.file.relative_to(path)): a for a in by_ids.values() if a.file not in used}


def _no_file(
    missing: Sequence[str],
    sequences: Mapping[str, Sequence[int]],
    there: Sequence[tuple[int, ...]],
    n: int,
) -> str:
    """What is wrong with answers that no file is of, the first of them looked at."""
    name = missing[0]
    wanted = tuple(sequences[name])
    part = max((ids for ids in there if ids and wanted[: len(ids)] == ids), key=len, default=())
    tail = max((ids for ids in there if ids and wanted[-len(ids) :] == ids), key=len, default=())
    if len(part) == len(wanted) - 1:
        why = "one holds all its tokens but the last, which is never fed while generating"
    elif len(part) > 1:
        why = (
            f"one holds its first {len(part)} tokens only, as of the prompt without the answer or "
            "of a sequence that was cut off"
        )
    elif len(tail) > 1:
        why = (
            f"one holds its last {len(tail)} tokens only: its beginning was cut off, by a limit "
            "on the length or by a cached prefix"
        )
    else:
        why = "none holds its token ids"
    return (
        f"{len(missing)} of {len(sequences)} answers have no states among {n} files, the first "
        f"{name!r}: {why}. Give vLLM prompt_ids + answer_ids as one prompt with max_tokens=1, and "
        "prompt_ids and answer_ids in the answers file."
    )
