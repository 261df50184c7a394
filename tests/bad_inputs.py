"""Inputs that are wrong in one place: questions, dumps, records, scores and models, by the name of what is wrong."""

from __future__ import annotations

import copy
import io
import json
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import load_file, save_file

from .synthetic_records import healthy

DELETED = object()
DEEP = "[" * 100_000 + "]" * 100_000
DIGITS = "9" * 5000


def as_lines(rows: list[Any]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


# ---- questions -------------------------------------------------------------------------------------------------


def row(topic: str = "beer", **changes: Any) -> dict[str, Any]:
    answers = [{"text": text, "votes": votes} for text, votes in (("the wind", 3), ("no rope", 1), ("ale", 0))]
    return {"topic": topic, "question": f"why {topic}?", "answers": answers, **changes}


def questions(second: Any) -> bytes:
    """A file whose second line is the one in question: an object, or its text."""
    return as_lines([row("wind")]) + (second if isinstance(second, str) else json.dumps(second)).encode() + b"\n"


def voted(votes: str) -> str:
    """The text of a row whose first answer has these votes, as they stand."""
    return json.dumps(row()).replace('"votes": 3', f'"votes": {votes}')


def rated(rating: str) -> str:
    ratings = json.dumps(row(ratings={"ann": [1, 2, "HERE"]}))
    return ratings.replace('"HERE"', rating)


def parquet(change: Callable[[bytes], bytes] = bytes, **columns: Any) -> bytes:
    table = pa.table({**{key: [value] * 50 for key, value in row().items()}, **columns})
    file = io.BytesIO()
    pq.write_table(table, file, compression="NONE", use_dictionary=False)
    return change(file.getvalue())


QUESTIONS: dict[str, tuple[bytes, str]] = {
    # votes and ratings
    "votes_1e300": (questions(voted("1e300")), "line 2: answers[0].votes: found 1e+300"),
    "votes_huge_400_digits": (questions(voted("9" * 400)), "line 2: answers[0].votes"),
    "votes_5000_digits": (questions(voted(DIGITS)), "line 2: "),
    "votes_2**63": (questions(voted(str(2**63))), "line 2: answers[0].votes"),
    "votes_-2**63": (questions(voted(str(-(2**63)))), "line 2: answers[0].votes"),
    "votes_NaN": (questions(voted("NaN")), "line 2: answers[0].votes: found nan"),
    "votes_1e999": (questions(voted("1e999")), "line 2: answers[0].votes: found inf"),
    "votes_true": (questions(voted("true")), "line 2: answers[0].votes: found True"),
    "votes_null": (questions(voted("null")), "line 2: answers[0].votes: found None"),
    "votes_list": (questions(voted("[3]")), "line 2: answers[0].votes: found [3]"),
    "votes_text": (questions(voted('"many"')), "line 2: answers[0].votes: found 'many'"),
    "votes_text_of_5000_digits": (questions(voted(f'"{DIGITS}"')), "line 2: answers[0].votes"),
    "ratings_huge": (questions(rated("9" * 400)), "line 2: ratings['ann']"),
    "ratings_NaN": (questions(rated("NaN")), "line 2: ratings['ann']"),
    "ratings_list": (questions(row(ratings=[1, 2, 3])), "line 2: ratings: found [1, 2, 3]"),
    "all_votes_equal": (
        as_lines([row(answers=[{"text": t, "votes": 3} for t in "abc"])]),
        "q.jsonl: all votes are equal within every question",
    ),
    # JSON
    "dup_keys": (questions('{"question": "a", "question": "b"}'), "line 2: expected a JSON object in UTF-8"),
    "deep_json_array": (questions(DEEP), "line 2: expected a JSON object in UTF-8"),
    "deep_json_obj_in_row": (
        questions('{"a": ' * 50_000 + "1" + "}" * 50_000),
        "line 2: expected a JSON object",
    ),
    "half_a_line": (questions('{"question": "wh'), "line 2: expected a JSON object"),
    "not_json": (questions("why?"), "line 2: expected a JSON object"),
    "json_list": (questions("[]"), "line 2: row: found [], expected an object"),
    "json_null": (questions("null"), "line 2: row: found None"),
    "json_pretty_printed": (json.dumps(row(), indent=1).encode(), "line 1: expected a JSON object"),
    "a_list_of_rows": (json.dumps([row()]).encode(), "line 1: row: found [{"),
    # encodings
    "binary": (bytes(range(256)) * 20, "q.jsonl, line 1: expected a JSON object in UTF-8"),
    "nul_bytes": (bytes(5000), "line 1: expected a JSON object in UTF-8"),
    "latin1": (
        questions("x")[:-2] + '{"question": "é"}'.encode("latin1"),
        "line 2: expected a JSON object in UTF-8",
    ),
    "utf16": (as_lines([row()]).decode().encode("utf-16"), "line 1: expected a JSON object in UTF-8"),
    "half_surrogate": (questions('{"question": "\\ud800", "answers": []}'), "line 2: answers: found []"),
    "half_surrogate_in_answer": (
        questions(json.dumps(row()).replace("the wind", "\\ud800")),
        "line 2: answers[0].text: found '\\ud800', expected valid Unicode",
    ),
    "empty": (b"", "q.jsonl: found no questions"),
    "white_space": (b" \n\t\n\r\n", "q.jsonl: found no questions"),
    # fields
    "no_answers": (questions({"question": "why?"}), "line 2: no field 'answers'"),
    "one_answer": (questions(row(answers=row()["answers"][:1])), "line 2: answers: found ["),
    "answers_of_text": (questions(row(answers=["a", "b"])), "line 2: answers[0]: found 'a'"),
    "answers_as_object": (questions(row(answers={"a": 1})), "line 2: answers: found {"),
    "question_empty": (questions(row(question="  ")), "line 2: question: found '  '"),
    "question_number": (questions(row(question=3)), "line 2: question: found 3"),
    "question_list": (questions(row(question=["a"])), "line 2: question[0]: found 'a', expected a message"),
    "topic_list": (questions(row(topic=["a"])), "line 2: topic: found ["),
    "id_object": (questions(row(id={"a": 1})), "line 2: id: found {"),
    "ids_equal": (as_lines([row(id="a"), row(id="a")]), "line 2: id: found 'a', expected a unique id"),
    "cluster_float": (questions(row(cluster=0.5)), "line 2: cluster: found 0.5"),
}

PARQUET: dict[str, tuple[bytes, str]] = {
    "parquet empty": (b"", "q.parquet: expected a parquet file"),
    "parquet garbage": (bytes(range(256)) * 20, "q.parquet: expected a parquet file"),
    "parquet half": (parquet(lambda b: b[: len(b) // 2]), "q.parquet: expected a parquet file"),
    "parquet pages_corrupt": (parquet(lambda b: b[:4] + b"\xff" * 300 + b[304:]), "q.parquet: expected a parquet file"),
    "parquet footer_corrupt": (parquet(lambda b: b[:-300] + b"\xff" * 280 + b[-20:]), "q.parquet: expected a parquet"),
    "parquet invalid_utf8": (parquet(lambda b: b.replace(b"why beer?", b"\xff\xfewhy b?")), "q.parquet: expected a parquet"),
    "parquet no_votes": (parquet(answers=[[{"text": "a"}, {"text": "b"}]] * 50), "row 0: answers[0]: found {"),
    "parquet no_question": (parquet(question=[None] * 50), "row 0: question: found None"),
    "parquet is_jsonl": (questions(row()), "q.parquet: expected a parquet file"),
}  # fmt: skip

# Name of a file in a folder of data, its content, and what of it is named.
DATA: dict[str, tuple[str, bytes, str]] = {
    "data text": ("a.txt", b"hello", "data: found the columns text (text), expected question, answers"),
    "data csv": ("a.csv", b"question,answers\nwhy,1\n", "data, split train, row 0: answers: found 1"),
    "data csv empty": ("a.csv", b"", "data: expected a folder or hub dataset"),
    "data json broken": ("a.json", b"{", "data/a.json"),
    "data deep": ("a.jsonl", DEEP.encode(), "data: expected a folder or hub dataset"),
    "data binary": ("a.jsonl", bytes(range(256)) * 20, "data/a.jsonl"),
    "data empty": ("a.jsonl", b"", "data: expected a folder or hub dataset"),
    "data parquet half": ("a.parquet", parquet(lambda b: b[: len(b) // 2]), "data/a.parquet"),
    "data zip": ("a.zip", b"PK\x03\x04" + bytes(100), "data: expected a folder or hub dataset"),
    "data gzip": ("a.jsonl.gz", b"\x1f\x8b\x08" + bytes(100), "data: expected a folder or hub dataset"),
    "data votes_huge": ("a.jsonl", voted("9" * 400).encode(), "data, split train, row 0: answers[0].votes"),
    "data card": ("README.md", b"---\nconfigs: [\n---\n", "data: expected a folder or hub dataset"),
}


# ---- dumps -----------------------------------------------------------------------------------------------------


def dump(extra: str = "", *, declared: str = "utf-8", answers: int = 4, **fields: str) -> bytes:
    """A `Posts.xml` with one good question; `fields` change its first answer's attributes, `extra` is one more row."""
    posts = ['<row Id="1" PostTypeId="1" CreationDate="2020-01-01T00:00:00" Score="3" Title="T" Body="What?" />']
    for i in range(answers):
        given = {"Id": str(2 + i), "PostTypeId": "2", "ParentId": "1", "Score": str(9 - 3 * i)}
        given |= {"Body": f"Answer {i}, long enough to be kept in."} | (fields if i == 0 else {})
        posts.append("<row " + " ".join(f'{key}="{value}"' for key, value in given.items()) + " />")
    inside = "\n".join([*posts, extra])
    return f'<?xml version="1.0" encoding="{declared}"?>\n<posts>\n{inside}\n</posts>\n'.encode()


def tags(tag: str, times: int) -> bytes:
    """A dump with one answer inside so many tags."""
    return dump(Body=f"&lt;{tag}&gt;" * times + "deep, and long enough to be kept" + f"&lt;/{tag}&gt;" * times)


DUMPS: dict[str, tuple[bytes, str]] = {
    "declared_unknown_encoding": (dump(declared="klingon"), "Posts.xml, line 1: unknown encoding 'klingon'"),
    "declared_codec_of_bytes": (dump(declared="base64"), "Posts.xml, line 1: unknown encoding 'base64'"),
    "empty": (b"", "Posts.xml, line 1: no element found"),
    "binary": (bytes(range(256)) * 20, "Posts.xml, line 1"),
    "nul_bytes": (bytes(5000), "Posts.xml, line 1"),
    "half": (dump()[: len(dump()) // 2], "Posts.xml, line 5: unclosed token"),
    "packed": (b"7z\xbc\xaf\x27\x1c\x00\x04 packed", "Posts.xml, line 1"),
    "another_xml": (b"<users>\n<row/></users>", "Posts.xml, line 1: found <users>"),
    "html": (b"<!doctype html><html><body>Not found</body></html>", "Posts.xml, line 1"),
    "json": (questions(row()), "Posts.xml, line 1"),
    "utf16_half": (dump().decode().encode("utf-16")[:-1], "Posts.xml"),
    "bombs": (b'<!DOCTYPE posts [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]>\n<posts/>', "Posts.xml, line 1: found an entity"),
    "no_rows": (b"<posts></posts>", "Posts.xml: none of its 0 questions qualifies"),
    "no_answers": (dump(answers=1), "Posts.xml: none of its 1 questions qualifies"),
    "score_huge": (dump(Score=DIGITS), "Score is no integer"),
    "score_huge_400": (dump(Score="9" * 400), "Score is no integer"),
    "score_NaN": (dump(Score="NaN"), "Score is no integer"),
    "score_float": (dump(Score="1.5"), "Score is no integer"),
    "score_empty": (dump(Score=""), "Score is no integer"),
    "id_text": (dump(Id="x"), "Id is no integer"),
    "duplicate_post_ids": (dump(Id="3"), "an id that was there before"),
}  # fmt: skip

# What a dump may hold, and is built from all the same: the sentence stands in the answer.
DUMPS_BUILT: dict[str, bytes] = {
    **{f"deep_{tag}_{n}": tags(tag, n) for tag in ("div", "blockquote", "ul", "b") for n in (400, 50_000)},
    "redos_lt": dump(Body="&lt;" * 200_000, answers=5),
    "control_character": dump(Body="a &#x0E; long enough to be kept in, with a control"),
    "bom": b"\xef\xbb\xbf" + dump(),
    "crlf": dump().replace(b"\n", b"\r\n"),
    "utf16": dump(declared="utf-16").decode().encode("utf-16"),
}


# ---- records and scores ----------------------------------------------------------------------------------------


def lines_of_a_run() -> list[dict[str, Any]]:
    """The run line, evaluations at 0, 50 and 100, a skipped one, and the end: lines 1 to 6."""
    lines = healthy(3, n=12, topics=("python", "java"))
    lines.insert(4, {"kind": "skipped", "step": 120, "time": "now", "reason": "no memory"})
    return lines


def record(*at: Any, to: Any = DELETED) -> bytes:
    """A record with what stands at the place `at` made `to`; without a place, as it should be."""
    lines: Any = copy.deepcopy(lines_of_a_run())
    holder = lines
    for key in at[:-1]:
        holder = holder[key]
    if at and to is DELETED:
        del holder[at[-1]]
    elif at:
        holder[at[-1]] = to
    return "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines).encode()


def raw(*at: Any, to: str) -> bytes:
    """The same with text that no JSON library writes."""
    return record(*at, to="<raw>").replace(b'"<raw>"', to.encode())


def line(number: int, text: str) -> bytes:
    """A record with one line replaced."""
    lines = record().split(b"\n")
    lines[number - 1] = text.encode()
    return b"\n".join(lines)


RECORDS: dict[str, tuple[bytes, str]] = {
    "version_str": (record(0, "version", to="1"), "line 1: version: found '1'"),
    "version_null": (record(0, "version", to=None), "line 1: version: found None"),
    "version_99": (record(0, "version", to=99), "line 1: version 99"),
    "questions_null": (record(0, "questions", to=None), "line 1: the run line lacks questions"),
    "questions_empty": (record(0, "questions", to=[]), "line 1: questions: found []"),
    "question_null": (record(0, "questions", 0, to=None), "line 1: questions[0]: found None"),
    "votes_empty": (record(0, "questions", 0, "votes", to=[]), "line 1: questions[0].votes: found []"),
    "ids_equal": (record(0, "questions", 0, "id", to="q1"), "line 1: questions: found the id 'q1' twice"),
    "id_int": (record(0, "questions", 0, "id", to=1), "line 1: questions[0].id: found 1"),
    "config_list": (record(0, "config", to=[]), "line 1: config: found []"),
    "alpha_str": (record(0, "config", "alpha", to="0.05"), "line 1: config.alpha is '0.05'"),
    "fingerprint_list": (record(0, "fingerprint", to=[]), "line 1: fingerprint: found []"),
    "planned_looks_0": (record(0, "planned_looks", to=0), "line 1: planned_looks: found 0"),
    "planned_looks_str": (record(0, "planned_looks", to="x"), "line 1: planned_looks: found 'x'"),
    "ceiling_str": (record(0, "human_ceiling", to="x"), "line 1: human_ceiling: found 'x'"),
    "name_outside": (record(0, "name", to="../../x"), "line 1: name is '../../x'"),
    "metrics_list": (record(2, "metrics", to=[]), "line 3: metrics: found []"),
    "metrics_NaN": (raw(2, "metrics", "hre/score", to="NaN"), "line 3: not a line of strict JSON"),
    "metrics_1e999": (raw(2, "metrics", "hre/score", to="1e999"), "line 3: metrics['hre/score']: found inf"),
    "metrics_digits": (raw(2, "metrics", "hre/score", to=DIGITS), "line 3: not a line of strict JSON"),
    "step_str": (record(2, "step", to="x"), "line 3: step: found 'x'"),
    "step_null": (record(2, "step", to=None), "line 3: the evaluation line lacks step"),
    "step_huge": (record(2, "step", to=10**30), "line 3: step: found"),
    "step_1e400": (record(2, "step", to=10**400), "line 3: step: found"),
    "step_1e5": (raw(2, "step", to="1e5"), "line 3: step: found 100000.0"),
    "step_minus": (record(2, "step", to=-1), "line 3: step: found -1"),
    "step_true": (record(2, "step", to=True), "line 3: step: found True"),
    "steps_unordered": (record(2, "step", to=500), "line 4: step: found 100 after 500"),
    "steps_duplicate": (record(2, "step", to=0), "line 3: step: found 0 after 0"),
    "pearson_int": (record(2, "pearson", to=3), "line 3: pearson: found 3"),
    "pearson_str_items": (record(2, "pearson", 0, to="x"), "line 3: pearson[0]: found 'x'"),
    "pearson_numeric_str": (record(2, "pearson", 0, to="0.5"), "line 3: pearson[0]: found '0.5'"),
    "pearson_2": (record(2, "pearson", 0, to=2), "line 3: pearson[0]: found 2"),
    "pearson_bool": (record(2, "pearson", 0, to=True), "line 3: pearson[0]: found True"),
    "pearson_huge": (record(2, "pearson", 0, to=10**400), "line 3: pearson[0]: found"),
    "pearson_short": (record(2, "pearson", to=[0.1]), "line 3: 'pearson' has 1 values"),
    "proxies_str": (record(2, "proxies", to="x"), "line 3: proxies: found 'x'"),
    "event_step_str": (record(4, "step", to="x"), "line 5: step: found 'x'"),
    "event_step_null": (record(4, "step", to=None), "line 5: the skipped line lacks step"),
    "kind_unknown_without_step": (line(5, '{"kind":"new"}'), "line 5: the new line lacks step"),
    "summary_list": (record(-1, "summary", to=[]), "line 6: summary: found []"),
    "deep_line": (line(3, DEEP), "line 3: nested too deeply"),
    "deep_last": (line(7, DEEP), "line 7: nested too deeply"),
    "broken_line": (line(3, '{"kind":"eval'), "line 3: not a line of strict JSON"),
    "nul_bytes_in_a_line": (line(3, "\0" * 50), "line 3: not a line of strict JSON"),
    "a_second_run_line": (line(3, '{"kind":"run"}'), "line 3: expected an event, found kind 'run'"),
    "list_line": (line(3, "[]"), "line 3: expected an object with a 'kind'"),
}

# A report shows more of a question than a comparison needs.
RECORDS_FOR_REPORT: dict[str, tuple[bytes, str]] = {
    "question_lacks_topic": (record(0, "questions", 0, "topic"), "line 1: questions[0].topic is missing"),
    "question_lacks_votes": (record(0, "questions", 0, "votes"), "line 1: questions[0].votes is missing"),
}

NO_RECORDS: dict[str, bytes] = {
    "empty": b"",
    "binary": bytes(range(256)) * 20,
    "nul_bytes": bytes(5000),
    "utf16": record().decode().encode("utf-16"),
    "half_of_its_first_line": record()[:100],
    "questions": questions(row()),
    "json": b"{}",
}


def scores(n: int = 12, **changes: Any) -> bytes:
    """A file of `hre score --out`; `changes` are made to its second line."""
    rows = [{"id": f"q{i}", "topic": "t", "pearson": (i * 7 % 12 - 6) / 7, "fingerprint": "f"} for i in range(n)]
    rows[min(1, n - 1)] |= changes
    return as_lines(rows)


def pearson(text: str) -> bytes:
    return scores(pearson="<raw>").replace(b'"<raw>"', text.encode())


SCORES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "b.jsonl: holds no scores"),
    "all_null": (as_lines([{"id": f"q{i}", "pearson": None, "fingerprint": "f"} for i in range(12)]), "0 of 12 questions can be compared"),
    "one_question": (scores(1), "are scores of different questions"),
    "mixed_fingerprints_in_file": (scores(fingerprint="g"), "b.jsonl, line 2: fingerprint 'g' is not that"),
    "fingerprint_list": (scores(fingerprint=[]), "b.jsonl, line 2: fingerprint is []"),
    "scoring_text": (scores(scoring="x"), "b.jsonl, line 2: scoring is 'x'"),
    "pearson_numeric_str": (pearson('"0.5"'), "b.jsonl, line 2: pearson is '0.5'"),
    "pearson_NaN": (pearson("NaN"), "b.jsonl, line 2: pearson is nan"),
    "pearson_1e999": (pearson("1e999"), "b.jsonl, line 2: pearson is inf"),
    "pearson_5": (pearson("5"), "b.jsonl, line 2: pearson is 5"),
    "pearson_bool": (pearson("true"), "b.jsonl, line 2: pearson is True"),
    "pearson_huge": (pearson("9" * 400), "b.jsonl, line 2: pearson is"),
    "pearson_5000_digits": (pearson(DIGITS), "b.jsonl, line 2: expected a row"),
    "id_mixed": (scores(id=1), "b.jsonl, line 2: id is 1"),
    "dup_ids": (scores(id="q0"), "b.jsonl, line 2: the id 'q0' is that of line 1 too"),
    "dup_keys": (b'{"id": "q0", "pearson": 1, "pearson": 0}', "b.jsonl, line 1: expected a row"),
    "cluster_one": (as_lines([{"id": f"q{i}", "pearson": i / 20, "fingerprint": "f", "cluster": "c"} for i in range(12)]), "in 1 cluster can be compared"),
    "cluster_list": (scores(cluster=[]), "b.jsonl, line 2: cluster is []"),
    "latin1": ('{"id": "é"}'.encode("latin1"), "b.jsonl, line 1: expected a row"),
    "deep": (DEEP.encode(), "b.jsonl, line 1: expected a row"),
    "binary": (bytes(range(256)) * 20, "b.jsonl, line 1: expected a row"),
    "utf16": (scores().decode().encode("utf-16"), "b.jsonl, line 1: expected a row"),
    "half": (scores()[:-30], "b.jsonl, line 12: expected a row"),
    "questions": (questions(row()), "b.jsonl, line 1: expected a row"),
}  # fmt: skip


# ---- models ----------------------------------------------------------------------------------------------------


class Evil:
    """Pickled, it makes the folder `ran` where it is unpickled."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("ran",)


def edit(file: Path, **fields: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **fields}))


def _weights(folder: Path, content: bytes | None, name: str = "model.safetensors") -> None:
    (folder / "model.safetensors").unlink()
    if content is not None:
        (folder / name).write_bytes(content)


def _no_tokenizer(folder: Path) -> None:
    for file in folder.glob("*token*"):
        file.unlink()


def _nan(folder: Path) -> None:
    file = folder / "model.safetensors"
    weights = load_file(file)
    weights["model.norm.weight"].fill_(float("nan"))
    save_file(weights, file, metadata={"format": "pt"})


def _vocabulary(folder: Path) -> None:
    file = folder / "model.safetensors"
    weights = {key: w[:20].clone() if w.shape[0] > 400 else w for key, w in load_file(file).items()}
    save_file(weights, file, metadata={"format": "pt"})
    edit(folder / "config.json", vocab_size=20)


def _bert(folder: Path) -> None:
    from transformers import BertConfig, BertForMaskedLM

    config = BertConfig(
        vocab_size=512, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    BertForMaskedLM(config).save_pretrained(folder)


def own_code(folder: Path) -> None:
    (folder / "own.py").write_text("import os\nos.mkdir('ran')\n")
    mapped = {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"}
    edit(folder / "config.json", auto_map=mapped, model_type="own", architectures=["Model"])


def _zip(folder: Path) -> None:
    torch.save({"weight": Evil()}, folder / "pytorch_model.bin")
    _weights(folder, None)


MODELS: dict[str, tuple[Callable[[Path], object], str]] = {
    "model_no_tokenizer": (_no_tokenizer, "m: expected the files that tokenizer.save_pretrained writes"),
    "model_no_weights": (lambda m: _weights(m, None), "m: expected whole weights"),
    "safetensors_truncated": (lambda m: os.truncate(m / "model.safetensors", 5000), "m: expected whole weights"),
    "safetensors_empty": (lambda m: _weights(m, b""), "m: expected whole weights"),
    "safetensors_garbage": (lambda m: _weights(m, os.urandom(5000)), "m: expected whole weights"),
    "tokenizer_json_empty_object": (lambda m: (m / "tokenizer.json").write_text("{}"), "m: expected the files that"),
    "tokenizer_longest_str": (lambda m: edit(m / "tokenizer_config.json", model_max_length="x"), "m: expected the files"),
    "tokenizer_pad_int": (lambda m: edit(m / "tokenizer_config.json", pad_token=3), "m: expected the files"),
    "special_tokens_list": (lambda m: (m / "special_tokens_map.json").write_text("[]"), "m: expected the files"),
    "generation_config_list": (lambda m: (m / "generation_config.json").write_text("[]"), "m: expected whole weights"),
    "adapter_too": (lambda m: (m / "adapter_config.json").write_text("{}"), "holds a whole model and an adapter"),
    "tokenizer_config_list": (lambda m: (m / "tokenizer_config.json").write_text("[]"), "m: expected the files that"),
    "config_wrong_type": (lambda m: edit(m / "config.json", hidden_size="big"), "m: expected the config.json"),
    "config_huge": (lambda m: edit(m / "config.json", hidden_size=10**400), "m: expected"),
    "config_no_layers": (lambda m: edit(m / "config.json", num_hidden_layers=0), "has no place for 18 weights"),
    "config_minus": (lambda m: edit(m / "config.json", num_hidden_layers=-1), "has no place for 18 weights"),
    "config_no_heads": (lambda m: edit(m / "config.json", num_attention_heads=0), "m: expected the config.json"),
    "config_act": (lambda m: edit(m / "config.json", hidden_act="nope"), "m: expected whole weights"),
    "config_auto_map_int": (lambda m: edit(m / "config.json", auto_map=3), "m: expected the config.json"),
    "config_no_room": (lambda m: edit(m / "config.json", max_position_embeddings=5), "m: no question can be scored"),
    "config_shape_mismatch": (lambda m: edit(m / "config.json", hidden_size=128), "has no room for"),
    "config_empty": (lambda m: (m / "config.json").write_text(""), "m: expected the config.json"),
    "config_deep": (lambda m: (m / "config.json").write_text(DEEP), "m: expected the config.json"),
    "config_missing": (lambda m: (m / "config.json").unlink(), "m: expected the config.json"),
    "vocab_smaller_than_tokenizer": (_vocabulary, "m: "),
    "bert_folder": (_bert, "m: this is a BertForMaskedLM"),
    "nan_weights": (_nan, "m: NaN or infinity in 1 weight (model.norm.weight)"),
    "pickle_only_evil": (_zip, "its pickle holds something else than weights and was not run"),
    "pickle_raw_evil": (lambda m: _weights(m, pickle.dumps(Evil(), 2), "pytorch_model.bin"), "was not run"),
    "remote_code_stdin_y": (own_code, "runs only with --trust-remote-code"),
}  # fmt: skip

GGUFS: dict[str, bytes] = {
    "gguf_empty": b"",
    "gguf_bad_counts": b"GGUF" + struct.pack("<IQQ", 3, 2**60, 2**60) + b"\xff" * 1000,
    "gguf_nothing": b"GGUF" + struct.pack("<IQQ", 3, 0, 0),
    "gguf_binary": bytes(range(256)) * 20,
    "gguf_is_text": questions(row()),
}
