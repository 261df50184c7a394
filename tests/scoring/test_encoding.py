"""Where context ends and continuation begins, over tokenizers of every kind, built here."""

from __future__ import annotations

import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from hre_callback import Answer, Question
from hre_callback.scoring.demo_model import tiny_model
from hre_callback.scoring.encoding import encode

CORPUS = [
    "Question: why is bread brown?\nAnswer: because of the heat, Ans wer",
    "Question: wie? مرحبا بالعالم 你好世界 नमस्ते 😀 é\nAnswer:Ans wer\n\n code()",
]
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60).filter(str.strip)


def wrap(backend, **special):
    return PreTrainedTokenizerFast(tokenizer_object=backend, **special)


def byte_level():
    return tiny_model(CORPUS, vocabulary=400)[1]


def metaspace(bos=False):
    """As SentencePiece models are converted: spaces become a letter, unknown characters become bytes."""
    backend = Tokenizer(models.Unigram())
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    backend.train_from_iterator(
        CORPUS,
        trainers.UnigramTrainer(
            vocab_size=200, special_tokens=["<unk>", "<s>"], unk_token="<unk>", show_progress=False
        ),
    )
    if bos:
        backend.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 1)])
    return wrap(backend, unk_token="<unk>", bos_token="<s>")


def word_piece():
    backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.train_from_iterator(
        CORPUS, trainers.WordPieceTrainer(vocab_size=200, special_tokens=["[UNK]"], show_progress=False)
    )
    return wrap(backend, unk_token="[UNK]")


def characters():
    backend = Tokenizer(models.BPE(unk_token="?"))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    backend.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=120, special_tokens=["?"], show_progress=False))
    return wrap(backend, unk_token="?")


def merging():
    """No pre-tokenizer: tokens cross the boundary, so that context and continuation share one."""
    backend = Tokenizer(models.BPE(unk_token="?"))
    backend.train_from_iterator(
        ["Answer: because"] * 5 + CORPUS,
        trainers.BpeTrainer(vocab_size=300, special_tokens=["?"], show_progress=False),
    )
    return wrap(backend, unk_token="?")


MAKERS = {f.__name__: f for f in (byte_level, metaspace, word_piece, characters, merging)} | {
    "metaspace_bos": lambda: metaspace(bos=True)
}
TOKENIZERS = {name: make() for name, make in MAKERS.items()}


def question(text, *answers, id="q"):
    return Question(id=id, question=text, answers=tuple(Answer(text=a, votes=i) for i, a in enumerate(answers)))


@pytest.mark.parametrize("name", sorted(TOKENIZERS))
@settings(deadline=None, max_examples=40)
@given(text=TEXT, answers=st.lists(TEXT, min_size=2, max_size=4))
def test_the_split_is_the_official_one(name, text, answers):
    tokenizer = TOKENIZERS[name]
    context = f"Question: {text}\nAnswer:"
    first = len(tokenizer(context, add_special_tokens=False)["input_ids"])
    found = encode([question(text, *answers)], tokenizer)
    assert found.left_out == () and found.truncated == 0
    for encoded, answer in zip(found.answers, answers, strict=True):
        joint = tokenizer(f"{context} {answer}", add_special_tokens=False)["input_ids"]
        assert list(encoded.context + encoded.continuation) == joint
        assert len(encoded.context) == min(first, len(joint) - 1)
        assert len(encoded.continuation) >= 1
        assert encoded.length == encoded.divisor == len(answer)


@pytest.mark.parametrize("name", sorted(TOKENIZERS))
@settings(deadline=None, max_examples=25)
@given(text=TEXT, answers=st.lists(TEXT, min_size=2, max_size=3), limit=st.integers(20, 90))
def test_truncation_keeps_the_question_and_shortens_the_answer(name, text, answers, limit):
    tokenizer = TOKENIZERS[name]
    whole = encode([question(text, *answers)], tokenizer).answers
    found = encode([question(text, *answers)], tokenizer, max_length=limit)
    longest = max(len(e.context) + len(e.continuation) for e in whole)
    if found.left_out:
        assert longest > limit and found.answers == ()
        return
    for before, after in zip(whole, found.answers, strict=True):
        assert after.context == before.context
        assert len(after.context) + len(after.continuation) <= limit
        assert after.continuation == before.continuation[: len(after.continuation)]
        cut = len(before.continuation) > len(after.continuation)
        assert after.truncated == cut
        assert 1 <= after.length <= before.length
        assert after.divisor == after.length
    assert found.truncated == sum(e.truncated for e in found.answers)


def test_what_a_reward_model_reads_ends_as_training_ends_it_and_fits():
    tokenizer = byte_level()
    asked = question("why?", "because of the heat " * 10, "no")
    cut, short = encode([asked], tokenizer, max_length=40, whole=True).answers
    assert cut.truncated and len(cut.context + cut.continuation) == 40
    assert {cut.continuation[-1], short.continuation[-1]} == {tokenizer.eos_token_id}
    assert short.length == 2 and tokenizer.decode(short.continuation) == " no</s>"
    tokenizer.chat_template = PLAIN
    _, short = encode([asked], tokenizer, prompt="chat", max_length=64, whole=True).answers
    assert tokenizer.decode(short.continuation) == "no[/]" and short.length == 2


def test_truncated_length_is_that_of_the_kept_text():
    tokenizer = TOKENIZERS["byte_level"]
    answer = "because of the heat " * 10
    (kept, _) = encode([question("why?", answer, "no")], tokenizer, max_length=40).answers
    assert kept.truncated
    spelled = tokenizer.decode(kept.continuation)
    assert kept.length == len(spelled) - 1  # the joining space is not counted


def test_a_question_without_room_is_left_out_and_named():
    long = question("why " * 100, "a longer answer that has no room left", "b", id="long")
    found = encode([long, question("why?", "a", "b", id="short")], TOKENIZERS["byte_level"], max_length=50)
    assert found.left_out == ("long",)
    assert {answer.key[0] for answer in found.answers} == {"short"}


@pytest.mark.parametrize(
    ("normalization", "expected"), [("characters", 6.0), ("bytes", 10.0), ("none", 1.0), ("tokens", None)]
)
def test_divisors(normalization, expected):
    (first, _) = encode(
        [question("why?", "añ😀bcd", "x")], TOKENIZERS["byte_level"], normalization=normalization
    ).answers
    assert first.divisor == (expected if expected is not None else len(first.continuation))
    assert first.length == 6


def test_boundary_merges_part_a_question_s_answers():
    """A merge across the boundary is the answer's own: its context differs from its sibling's, and both are right."""
    tokenizer = TOKENIZERS["merging"]
    a, b = encode([question("w", "because", "zzz")], tokenizer).answers
    assert len(tokenizer("Question: w\nAnswer: because")["input_ids"]) == len(a.context) + len(a.continuation)
    assert a.context != b.context


def test_slow_tokenizers_without_offsets_truncate_too():
    class Slow:
        """A tokenizer that only knows ids, as custom ones do."""

        is_fast = False

        def __call__(self, texts, **kwargs):
            assert not kwargs.get("return_offsets_mapping")
            return {"input_ids": [[ord(c) for c in t] for t in texts]}

        def decode(self, ids):
            return "".join(map(chr, ids))

    (a, _) = encode([question("why?", "because " * 9, "no")], Slow(), max_length=60).answers
    assert a.truncated and len(a.context) + len(a.continuation) == 60
    assert a.length == len("".join(map(chr, a.continuation)).strip())


def test_the_tokenizer_is_left_as_it_was_and_nothing_is_said():
    tokenizer = byte_level()
    tokenizer.model_max_length = 8
    tokenizer.padding_side = "left"
    before = (
        tokenizer.padding_side,
        tokenizer.truncation_side,
        tokenizer.pad_token,
        tokenizer.model_max_length,
    )
    backend = tokenizer.backend_tokenizer.to_str()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encode([question("why? " * 9, "because " * 9, "no")], tokenizer, max_length=64)
    assert before == (
        tokenizer.padding_side,
        tokenizer.truncation_side,
        tokenizer.pad_token,
        tokenizer.model_max_length,
    )
    assert tokenizer.backend_tokenizer.to_str() == backend


PLAIN = "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}[/]{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"
THINKS = (
    "{% for m in messages %}[{{ m['role'] }}]{% if m['role'] == 'assistant' %}<think></think>{% endif %}"
    "{{ m['content'] | trim }}[/]{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"
)
CHANGES = (
    "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] | upper }}{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)


@pytest.mark.parametrize(
    ("template", "context"),
    [
        (PLAIN, "[user]why?[/][assistant]"),
        (THINKS, "[user]why?[/][assistant]<think></think>"),  # as training renders it, not the bare prompt
        ("{{ bos_token }}" + PLAIN, "<s>[user]why?[/][assistant]"),
    ],
)
def test_chat_scores_the_answer_s_own_tokens(template, context):
    tokenizer = byte_level()
    tokenizer.chat_template = template
    for encoded, answer in zip(
        encode([question("why?", "because of the heat", "no idea")], tokenizer, prompt="chat").answers,
        ("because of the heat", "no idea"),
        strict=True,
    ):
        assert tokenizer.decode(encoded.context) == context
        assert tokenizer.decode(encoded.continuation) == answer
        assert encoded.length == len(answer)


@pytest.mark.parametrize("template", [PLAIN, "{{ bos_token }}" + PLAIN])
def test_chat_has_exactly_one_bos(template):
    tokenizer = byte_level()
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 1)])
    tokenizer.chat_template = template
    assert tokenizer("a")["input_ids"][0] == tokenizer.bos_token_id
    for encoded in encode([question("why?", "because", "no")], tokenizer, prompt="chat").answers:
        assert encoded.context.count(tokenizer.bos_token_id) == 1
        assert encoded.context[0] == tokenizer.bos_token_id


def test_chat_with_a_template_that_rewrites_every_text_is_one_clear_error():
    tokenizer = byte_level()
    tokenizer.chat_template = CHANGES
    with pytest.raises(ValueError, match="the chat template writes the question 0 times"):
        encode([question("why?", "because", "no")], tokenizer, prompt="chat")


def test_chat_without_a_template_is_one_clear_error():
    with pytest.raises(ValueError, match="chat template"):
        encode([question("why?", "a", "b")], byte_level(), prompt="chat")
