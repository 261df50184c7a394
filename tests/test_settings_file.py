"""A YAML file of settings: what it may hold, and each mistake in it named with file and key."""

from __future__ import annotations

import pytest

from hre_callback import HREConfig
from hre_callback.settings_file import Settings, read_settings


def written(folder, text):
    path = folder / "hre.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_file_gives_config_and_questions(tmp_path):
    path = written(
        tmp_path,
        "questions: beer.jsonl\ntopics: [brewing, tasting]\nmax_questions: 64\neval_steps: 50\nalpha: 1e-2\n"
        "stop_rule: drop_from_start\nchat_template_kwargs: {enable_thinking: false}\n",
    )
    config = HREConfig(
        eval_steps=50, alpha=0.01, stop_rule="drop_from_start", chat_template_kwargs={"enable_thinking": False}
    )
    assert read_settings(path) == Settings(config, "beer.jsonl", ["brewing", "tasting"], 64)


def test_what_is_given_besides_counts_and_none_is_not_given(tmp_path):
    path = written(tmp_path, "questions: beer.jsonl\neval_steps: 50\nmax_questions: 9\n")
    found = read_settings(path, questions="bundled", eval_steps=None, max_questions=4, name="hre2")
    assert found == Settings(HREConfig(eval_steps=50, name="hre2"), "bundled", None, 4)


def test_no_file_is_needed():
    assert read_settings(questions="bundled") == Settings(HREConfig(), "bundled")


def test_an_empty_file_is_no_settings(tmp_path):
    assert read_settings(written(tmp_path, "# nothing yet\n"), questions="bundled").config == HREConfig()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("eval_stps: 50", "'eval_stps' is no setting of HRE; did you mean eval_steps?"),
        ("hre_eval_steps: 50", "did you mean eval_steps?"),
        ("eval-steps: 50", "did you mean eval_steps?"),
        ("question: beer.jsonl", "did you mean questions?"),
        ("zzzz: 1", "'zzzz' is no setting of HRE; there are questions, topics"),
        ("1: 2", "1 is no setting of HRE"),
        ("? [a, b]\n: 2", "no YAML that can be read"),
        ("eval_steps: fifty", "eval_steps is 'fifty'; it must be a whole number"),
        ("eval_steps: 0", "eval_steps is 0; it must be at least 1"),
        ("alpha: 2", "alpha is 2; it must lie between 0 and 1"),
        ("stop_rule: always", "stop_rule is 'always'; allowed: never"),
        ("name: no", "name is False; letters"),
        ("eval_on_start: 1", "eval_on_start is 1; it must be True or False"),
        ("questions: [a, b]", "questions is ['a', 'b']; it must be a file"),
        ("questions: ''", "questions is ''"),
        ("questions:", "questions is None"),
        ("max_questions: 2.0", "max_questions is 2.0"),
        ("max_questions: true", "max_questions is True"),
        ("topics: python", "topics is 'python'; it must be a list"),
        ("topics: []", "topics is []"),
        ("topics: [1]", "topics is [1]"),
        ("eval_steps: 5\neval_steps: 6", "line 1: the key 'eval_steps' stands twice"),
        ("chat_template_kwargs: [1]", "chat_template_kwargs is [1]"),
        ("stop_rule: mismatch\neval_on_start: false\nquestions: a", "it needs eval_on_start"),
        ("- a\n- b", "found ['a', 'b'], expected settings"),
        ("just words", "expected settings such as"),
        ("a: [1, 2", "no YAML that can be read: line 1"),
        ("a: !!python/object:os.system x", "no YAML that can be read: line 1"),
        (b"a: \xff\xfe", "no YAML that can be read"),
        (b"a: \x00", "no YAML that can be read"),
        ("questions: 2024-99-99", "no YAML that can be read"),
        ("[" * 5000, "no YAML that can be read"),
        ("eval_steps: 5", "no questions are named; give --questions"),
        ("", "no questions are named"),
    ],
)
def test_a_mistake_is_named_with_file_and_key(tmp_path, text, words):
    path = written(tmp_path, text)
    besides = {} if "questions" in f"{words} {text!r}" else {"questions": "bundled"}
    with pytest.raises(ValueError) as error:
        read_settings(path, **besides)
    said = str(error.value)
    assert words in said and str(path) in said and "\n" not in said and len(said) < 1000


def test_what_was_given_besides_is_named_without_the_file(tmp_path):
    path = written(tmp_path, "questions: bundled")
    with pytest.raises(ValueError, match="^stop_rule is 'x'; allowed"):
        read_settings(path, stop_rule="x")


def test_no_questions_and_no_file():
    with pytest.raises(ValueError, match="^no questions are named; give --questions [^N]*$"):
        read_settings()


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(OSError, match="hre.yaml"):
        read_settings(tmp_path / "hre.yaml")
