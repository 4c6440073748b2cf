"""BibTeX of the suite, of a run's task, and of the methods the run used."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from probebench._version import __version__
from probebench.errors import ProbebenchError

PHRASE = "linear-probe benchmark for token-position truthfulness"
RELEASED = "2026-11-22"
"""Day of this version, as in CITATION.cff."""
Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Source:
    """A paper, and what of a run rests on it."""

    bibtex: str
    why: str
    used: Callable[[Record], bool]


def suite_entry() -> str:
    """BibTeX of this version of the suite."""
    return (
        "@software{probebench,\n"
        f"  title = {{probebench: {PHRASE}}},\n"
        "  author = {{The probebench maintainers}},\n"
        f"  version = {{{__version__}}},\n"
        f"  year = {{{RELEASED[:4]}}},\n"
        "  license = {MIT}\n"
        "}"
    )


def cite(*records: Record) -> str:
    """BibTeX of the suite and, with records of runs, of their tasks and of every method they used;
    one entry per key.

    Each entry after the suite's stands under a comment that says what it is cited for.
    """
    parts, keys = [f"% The suite, version {__version__}\n{suite_entry()}"], {"probebench"}
    sources = dict.fromkeys(source for record in records for source in _sources(record))
    for why, bibtex in sources:
        found = entries(bibtex)
        fresh = [entry for entry in found if key_of(entry) not in keys]
        keys |= {key_of(entry) for entry in fresh}
        above = ", ".join(key_of(entry) for entry in found if entry not in fresh)
        parts.append("\n".join([f"% {why} ({above}, above)" if above else f"% {why}", *fresh]))
    return "\n\n".join(parts) + "\n"


def _sources(record: Record) -> Iterator[tuple[str, str]]:
    """Reason and BibTeX of everything a run rests on, the task first."""
    from probebench.tasks.schema import load_task

    name = record.get("task", {}).get("name")
    if name:
        shown = " ".join(str(name).split())
        try:
            task = load_task(str(name))
            yield f"Task {shown}, version {task.version}", task.citation.strip()
        except ProbebenchError:
            yield f"Task {shown} is not part of the suite: cite where its questions come from.", ""
    for source in SOURCES:
        if source.used(record):
            yield source.why, source.bibtex


def entries(bibtex: str) -> list[str]:
    """The single entries of a BibTeX text."""
    return [entry.strip() for entry in re.split(r"(?m)^(?=@)", bibtex) if entry.strip()]


def key_of(entry: str) -> str:
    """The key of one entry."""
    found = re.match(r"@\w+\{\s*([^,\s]+)", entry)
    return found[1] if found else entry


def _probe(*names: str) -> Callable[[Record], bool]:
    return lambda record: record.get("probe", {}).get("name") in names


def _detector(prefix: str) -> Callable[[Record], bool]:
    return lambda record: any(
        str(d.get("name", "")).startswith(prefix) for d in record.get("detectors", ())
    )


def _metric(name: str) -> Callable[[Record], bool]:
    return lambda record: any(name in (d.get("metrics") or {}) for d in record.get("detectors", ()))


def _shuffled(record: Record) -> bool:
    return bool(record.get("controls", {}).get("permutation"))


SOURCES = (
    Source(
        """@inproceedings{orgad2025llms,
  title = {{LLMs} Know More Than They Show: On the Intrinsic Representation of {LLM} Hallucinations},
  author = {Orgad, Hadas and Toker, Michael and Gekhman, Zorik and Reichart, Roi and Szpektor, Idan and Kotek, Hadas and Belinkov, Yonatan},
  booktitle = {The Thirteenth International Conference on Learning Representations (ICLR)},
  year = {2025},
  note = {arXiv:2410.02707}
}""",  # noqa: E501
        "Token positions and the layer by position map",
        lambda record: True,
    ),
    Source(
        """@misc{alain2016understanding,
  title = {Understanding Intermediate Layers Using Linear Classifier Probes},
  author = {Alain, Guillaume and Bengio, Yoshua},
  year = {2016},
  note = {arXiv:1610.01644}
}""",
        "Linear probes",
        _probe("logistic", "ridge", "lda", "mass-mean", "orgad2025"),
    ),
    Source(
        """@article{pedregosa2011scikit,
  title = {Scikit-learn: Machine Learning in {Python}},
  author = {Pedregosa, Fabian and others},
  journal = {Journal of Machine Learning Research},
  volume = {12},
  pages = {2825--2830},
  year = {2011}
}""",
        "Probes and metrics are scikit-learn estimators and functions",
        lambda record: True,
    ),
    Source(
        """@article{marks2023geometry,
  title = {The Geometry of Truth: Emergent Linear Structure in Large Language Model Representations of True/False Datasets},
  author = {Marks, Samuel and Tegmark, Max},
  journal = {arXiv preprint arXiv:2310.06824},
  year = {2023}
}""",
        "The mass-mean probe",
        _probe("mass-mean"),
    ),
    Source(
        """@article{ledoit2004well,
  title = {A Well-Conditioned Estimator for Large-Dimensional Covariance Matrices},
  author = {Ledoit, Olivier and Wolf, Michael},
  journal = {Journal of Multivariate Analysis},
  volume = {88},
  number = {2},
  pages = {365--411},
  year = {2004}
}""",
        "The shrunk covariance of the probe lda",
        _probe("lda"),
    ),
    Source(
        """@misc{kadavath2022language,
  title = {Language Models (Mostly) Know What They Know},
  author = {Kadavath, Saurav and others},
  year = {2022},
  note = {arXiv:2207.05221}
}""",
        "The baseline p(True)",
        _detector("p_true"),
    ),
    Source(
        """@inproceedings{hewitt2019designing,
  title = {Designing and Interpreting Probes with Control Tasks},
  author = {Hewitt, John and Liang, Percy},
  booktitle = {Proceedings of EMNLP-IJCNLP 2019},
  pages = {2733--2743},
  year = {2019},
  doi = {10.18653/v1/D19-1275}
}""",
        "Selectivity",
        _shuffled,
    ),
    Source(
        """@article{benjamini1995controlling,
  title = {Controlling the False Discovery Rate: A Practical and Powerful Approach to Multiple Testing},
  author = {Benjamini, Yoav and Hochberg, Yosef},
  journal = {Journal of the Royal Statistical Society: Series B},
  volume = {57},
  number = {1},
  pages = {289--300},
  year = {1995}
}""",
        "False-discovery rate over the cells",
        _shuffled,
    ),
    Source(
        """@article{delong1988comparing,
  title = {Comparing the Areas under Two or More Correlated Receiver Operating Characteristic Curves: A Nonparametric Approach},
  author = {DeLong, Elizabeth R. and DeLong, David M. and Clarke-Pearson, Daniel L.},
  journal = {Biometrics},
  volume = {44},
  number = {3},
  pages = {837--845},
  year = {1988}
}""",
        "The second interval of each AUROC",
        lambda record: any("auroc_95_delong" in d for d in record.get("detectors", ())),
    ),
    Source(
        """@inproceedings{fadeeva2023lm,
  title = {{LM-Polygraph}: Uncertainty Estimation for Language Models},
  author = {Fadeeva, Ekaterina and others},
  booktitle = {Proceedings of EMNLP 2023: System Demonstrations},
  year = {2023},
  note = {arXiv:2311.07383}
}""",
        "The prediction-rejection ratio",
        _metric("prr"),
    ),
)
"""What runs may rest on, in the order of a methods section."""
