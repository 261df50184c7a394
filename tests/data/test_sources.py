import json
import subprocess
import sys
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hre_callback.data import sources
from hre_callback.data.questions import Answer, load_questions
from hre_callback.data.sources import TOPIC_OF_SPLIT

OFFICIAL_TOPICS = [
    "python",
    "java",
    "unix",
    "cpp",
    "html",
    "english",
    "physics",
    "latex",
    "soft_eng",
    "stats",
    "cs_db",
    "languages_sciences",
    "apple_android",
    "math",
]


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


def split_rows(name: str, n: int = 3) -> list[dict]:
    return [
        {
            "question": f"{name} {i}?",
            "answers": [{"text": f"{name} {i} {v}", "votes": v} for v in ("12", "3", "-2")],
        }
        for i in range(n)
    ]


def official_copy(folder: Path, splits) -> Path:
    (folder / "data").mkdir(parents=True)
    card = "".join(f"  - split: {s}\n    path: data/{s}-*\n" for s in splits)
    (folder / "README.md").write_text(f"---\nconfigs:\n- config_name: default\n  data_files:\n{card}---\n")
    for name in splits:
        table = pa.Table.from_pylist(split_rows(name))
        pq.write_table(table, folder / "data" / f"{name}-00000-of-00001-0123456789abcdef.parquet")
    return folder


def test_official_topic_names():
    assert list(TOPIC_OF_SPLIT.values()) == OFFICIAL_TOPICS


@pytest.mark.parametrize("card", [True, False])
def test_official_layout(tmp_path, card):
    folder = official_copy(tmp_path / "human_rank_eval", ["HumanRankEvalSoftEng", "HumanRankEvalPython", "Brewing"])
    if not card:
        (folder / "README.md").unlink()
    questions = load_questions(folder)
    assert {q.id for q in questions} == {f"{t}:{i}" for t in ("soft_eng", "python", "Brewing") for i in range(3)}
    first = next(q for q in questions if q.id == "python:1")
    assert first.topic == "python"
    assert first.question == "HumanRankEvalPython 1?"
    assert first.answers == tuple(Answer(f"HumanRankEvalPython 1 {v}", v) for v in (12, 3, -2))
    subset = load_questions(str(folder), max_questions=6)
    assert sorted(q.topic for q in subset) == ["Brewing"] * 2 + ["python"] * 2 + ["soft_eng"] * 2


def test_only_the_splits_of_the_asked_topics_are_read(tmp_path):
    folder = official_copy(tmp_path / "copy", ["HumanRankEvalPython", "HumanRankEvalJava", "HumanRankEvalMath"])
    (broken,) = folder.glob("data/HumanRankEvalJava-*")
    broken.write_bytes(b"not a parquet file")
    assert {q.topic for q in load_questions(folder, topics=["math", "python"])} == {"python", "math"}
    with pytest.raises(ValueError, match="copy: expected a folder or hub dataset .*found DatasetGenerationError"):
        load_questions(folder)


def test_unknown_topic_of_an_official_copy_is_told_before_anything_is_read(tmp_path):
    folder = official_copy(tmp_path / "copy", ["HumanRankEvalPython", "HumanRankEvalCSDB"])
    for file in folder.glob("data/*"):
        file.write_bytes(b"not a parquet file")
    with pytest.raises(ValueError, match="no such topic 'pyhton'; available: cs_db, python"):
        load_questions(folder, topics=["pyhton"])


def test_folder_whose_rows_name_their_topics(tmp_path):
    rows = [r | {"topic": t, "id": f"{t}-{i}"} for t in ("beer", "wine") for i, r in enumerate(split_rows(t))]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    assert [q.id for q in load_questions(tmp_path, topics=["wine"])] == ["wine-0", "wine-1", "wine-2"]
    with pytest.raises(ValueError, match="no such topic 'rum'; available: beer, wine"):
        load_questions(tmp_path, topics=["rum"])


def test_bad_row_of_a_split_is_named(tmp_path):
    folder = official_copy(tmp_path / "copy", ["HumanRankEvalPython"])
    rows = split_rows("x")
    rows[2]["answers"][1]["votes"] = "n/a"
    (file,) = folder.glob("data/*")
    pq.write_table(pa.Table.from_pylist(rows), file)
    with pytest.raises(ValueError, match=r"copy, split HumanRankEvalPython, row 2: answers\[1\]\.votes: found 'n/a'"):
        load_questions(folder)


def test_without_network_the_cached_dataset_is_used_whole(monkeypatch):
    """`datasets` then gives a builder without files, and `load_dataset` reads its cache."""

    class Cached:
        class config:  # noqa: N801
            data_files = None

    cached = {s: datasets.Dataset.from_list(split_rows(s)) for s in ("HumanRankEvalPython", "HumanRankEvalJava")}
    monkeypatch.setattr(datasets, "load_dataset_builder", lambda source: Cached)
    monkeypatch.setattr(datasets, "load_dataset", lambda source: cached)
    assert [q.id for q in load_questions("owner/name", topics=["java"])] == ["java:0", "java:1", "java:2"]


def test_code_of_a_dataset_is_never_run_nor_asked_about(monkeypatch):
    """Before version 4 `datasets` asks on the console, unless it is told no."""
    told = []

    class Builder:
        class config:  # noqa: N801
            data_files = None

    def builder_of(source, trust_remote_code=None):
        told.append(trust_remote_code)
        return Builder

    def load(source, trust_remote_code=None):
        told.append(trust_remote_code)
        return {"HumanRankEvalJava": datasets.Dataset.from_list(split_rows("HumanRankEvalJava"))}

    monkeypatch.setattr(datasets, "load_dataset_builder", builder_of)
    monkeypatch.setattr(datasets, "load_dataset", load)
    assert load_questions("owner/name") and told == [False, False]


def test_hub_failure_says_what_to_do(monkeypatch):
    def offline(source):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(datasets, "load_dataset_builder", offline)
    with pytest.raises(ValueError, match="owner/name: expected .*without network: a folder with a copy.*no route"):
        load_questions("owner/name")


def test_parquet_file(tmp_path):
    rows = [
        split_rows("a")[0] | {"topic": "t", "id": None, "ratings": {"ann": [1.0, None, 3.0], "bob": None}},
        split_rows("b")[0] | {"topic": "t", "id": "own", "ratings": {"ann": None, "bob": [1.0, 2.0, 2.0]}},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "q.parquet")
    first, second = load_questions(tmp_path / "q.parquet")
    assert (first.id, second.id) == ("t:0", "own")
    assert first.ratings == {"ann": (1.0, None, 3.0)}
    assert second.ratings == {"bob": (1.0, 2.0, 2.0)}
    assert [a.votes for a in first.answers] == [12, 3, -2]


def test_parquet_without_a_column(tmp_path):
    pq.write_table(pa.table({"question": ["a?"], "votes": [3]}), tmp_path / "q.parquet")
    with pytest.raises(
        ValueError, match=r"q\.parquet, row 0: no field 'answers'; found the fields \['question', 'votes'"
    ):
        load_questions(tmp_path / "q.parquet")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("q.parquet", b"PAR1 no", "expected a parquet file"),
        ("q.txt", b"question,answers", r"found a \.txt file, expected \.jsonl .* or \.parquet"),
        ("q.csv", b"", "expected a CSV file in UTF-8 with a header"),
        ("q.json", b'[{"question": 1, "question": 2}]', "expected a list of JSON objects in UTF-8, found .* twice"),
        ("q.json", b"[" * 100_000, "expected a list of JSON objects"),
        ("q.json", b"7", "line 1: row: found 7"),
        ("questions", b"", "found a nameless file"),
        ("q.jsonl", b'{"question": "a?"', "line 1: expected a JSON object in UTF-8 on one line"),
        ("q.jsonl", b'\n\n{"question": "caf\xe9"}', "line 3: expected a JSON object in UTF-8"),
    ],
)
def test_wrong_files(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        load_questions(tmp_path / name)


@pytest.mark.parametrize(
    "source", ["missing.jsonl", "data/missing.parquet", "bundle", "/nowhere/at/all", Path("owner/name")]
)
def test_missing_files_never_ask_the_hub(source, monkeypatch):
    monkeypatch.setattr(sources, "_load_splits", lambda *_: pytest.fail("asked the hub"))
    with pytest.raises(ValueError, match="no such file or folder; expected .*'owner/name' or 'bundled'"):
        load_questions(source)


def test_an_empty_folder_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="expected a folder or hub dataset that datasets.load_dataset can load"):
        load_questions(tmp_path)


def test_neither_torch_nor_datasets_is_imported_for_a_file():
    code = (  # a bare package, so that only what these modules import themselves counts
        "import sys, types; package = types.ModuleType('hre_callback');"
        f"package.__path__ = [{str(Path(sources.__file__).parents[1])!r}]; sys.modules['hre_callback'] = package;"
        "from hre_callback.data.questions import load_questions; load_questions('bundled');"
        "print(sorted({'torch', 'datasets', 'transformers', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
