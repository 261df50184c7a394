"""The chat boundary: found with markers, proven on every answer's own rendering, the same tokens scored for all answers."""

from __future__ import annotations

import json
import logging
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
import transformers.utils.chat_template_utils as template_utils
import trl
from datasets import Dataset
from tokenizers import processors
from transformers import ProcessorMixin

from hre_callback import HREConfig, HumanRankEvalCallback, HumanRankEvaluator, read_record
from hre_callback.cli import app
from hre_callback.run.comparison import compare_scores
from hre_callback.run.scores import score_rows
from hre_callback.scoring.chat import ChatTemplate, trained_on_chat
from hre_callback.scoring.demo_model import tiny_model
from hre_callback.scoring.encoding import encode
from hre_callback.scoring.rewards import score_rewards

from ..trainers import TEXTS, arguments, dropout_model, questions, sft_trainer, tokenizer
from .test_encoding import TOKENIZERS, byte_level, characters, merging, metaspace, question, word_piece
from .test_rewards import reward_model

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:.*torch.jit.script.*")

CHATML = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
TRIMS = CHATML.replace("m.content", "m.content | trim")
SPACE = "{% for m in messages %}{{ m.role | upper }}: {{ m.content }}\n{% endfor %}"
PARTS = (
    "{% for m in messages %}{{ m.role }}:{% for c in m.content %}{% if c.type == 'text' %} {{ c.text }}{% endif %}"
    "{% endfor %}\n{% endfor %}"
)
LLAVA = (
    "{% for message in messages %}{% if message['role'] != 'system' %}{{ message['role'].upper() + ': '}}{% endif %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\n' }}{% endfor %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}{{ content['text'] + ' '}}{% endfor %}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
USER_PARTS = (
    "{% for m in messages %}{{ m.role }}:{% if m.role == 'user' %}{{ m.content[0].text }}{% else %}{{ m.content + '.' }}"
    "{% endif %}\n{% endfor %}"
)
DROPS_THINKING = CHATML.replace("m.content", "m.content.split('</think>')[-1]")
DATED = "Today: {{ strftime_now('%d %b %Y') }} " + CHATML
THINKING = CHATML.replace(
    "{{ m.content }}",
    "{% if not enable_thinking and m.role == 'assistant' %}<think></think>{% endif %}{{ m.content }}",
)
WIND = question("why does it fall?", "the wind", "the rope")


def with_template(template, tok=None):
    tok = tok or byte_level()
    tok.chat_template = template
    return tok


def spelled(tok, asked, **settings):
    """What is given and what is scored of every answer, as text."""
    return [
        (tok.decode(a.context), tok.decode(a.continuation))
        for a in encode([asked], tok, prompt="chat", **settings).answers
    ]


# The question is there, once ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("template", [PARTS, LLAVA, USER_PARTS])
def test_a_template_of_content_parts_gets_them(template):
    tok = with_template(template)
    for (given, scored), answer in zip(spelled(tok, WIND), WIND.answers, strict=True):
        assert given.count(WIND.question) == 1 and answer.text not in given
        assert scored.strip() == answer.text


REFUSED = {
    "no question": ("{% for m in messages if m.role != 'user' %}{{ m.content }}{% endfor %}", "question 0 times"),
    "question twice": ("{{ messages[0].content }} " + CHATML, "writes the question 2 times"),
    "answer twice": (CHATML + "{{ messages[-1].content }}", "the answer 2 times"),
    "no answer": ("{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}", "the answer 0 times"),
    "answer first": ("{% for m in messages | reverse %}{{ m.content }}|{% endfor %}", "the answer before the question"),
    "rewritten": (CHATML.replace("m.content", "m.content | upper"), "writes the question 0 times"),
    "raises": ("{{ raise_exception('only tools here') }}", "only tools here"),
    "no jinja": ("{% for m in %}", "fails"),
    "wants an argument": ("{{ undefined_thing.name }}" + CHATML, "fails .*undefined_thing"),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_template_that_does_not_hold_the_question_is_refused_by_name(name):
    template, message = REFUSED[name]
    with pytest.raises(ValueError, match=f"prompt='chat' cannot be used.*{message}") as error:
        encode([WIND], with_template(template), prompt="chat")
    assert "\n" not in str(error.value) and len(str(error.value)) < 900


def test_a_template_that_writes_the_marker_itself_gets_another():
    taken = ChatTemplate(with_template(CHATML))._markers[0]
    tok = with_template(f"{taken[0]} {taken[1]} " + CHATML)
    assert spelled(tok, WIND)[0][0].startswith(f"{taken[0]} {taken[1]} <|im_start|>user\nwhy does it fall?")
    asked = question(f"what is {taken[0]}?", taken[1], f"{taken[0]} and {taken[1]}")
    assert [scored for _, scored in spelled(with_template(CHATML), asked)] == [a.text for a in asked.answers]


# All tokens of every answer -------------------------------------------------------------------------------------------


def test_a_short_answer_is_not_found_in_the_closing_tokens():
    tok = with_template(CHATML)
    found = spelled(tok, question("start or end?", "end", "start"))
    assert [scored for _, scored in found] == ["end", "start"]
    assert {given for given, _ in found} == {"<|im_start|>user\nstart or end?<|im_end|>\n<|im_start|>assistant\n"}


def test_answers_that_occur_in_the_question_or_the_template_are_scored_whole():
    tok = with_template(CHATML)
    asked = question("assistant", "assistant", "user", "<|im_end|>", "assist", "a", "im_start")
    for (given, scored), answer in zip(spelled(tok, asked), asked.answers, strict=True):
        assert scored == answer.text
        assert given == "<|im_start|>user\nassistant<|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.parametrize("make", [byte_level, metaspace, merging, characters, word_piece])
@pytest.mark.parametrize(
    "template", [SPACE, CHATML, LLAVA, PARTS, "{% for m in messages %}\n\n{{ m.content }}{% endfor %}"]
)
@pytest.mark.parametrize("limit", [None, 400])
def test_no_token_of_an_answer_is_given_away_and_all_start_at_one_place(make, template, limit):
    """A trailing space is merged into the first word of one answer and not of another."""
    tok = with_template(template, make())
    asked = question("why?", "because of the heat", "42", " heat", "\n\ncode()", "\u4f60\u597d", "because")
    found = encode([asked], tok, prompt="chat", max_length=limit).answers
    assert len({answer.context for answer in found}) == 1
    context = ChatTemplate(tok).around("why?", "because").context
    for encoded, answer in zip(found, asked.answers, strict=True):
        joint = tok(context + answer.text, add_special_tokens=False, return_offsets_mapping=True)
        assert list(encoded.context + encoded.continuation) == joint["input_ids"]
        if not answer.text[:1].isspace():
            assert joint["offset_mapping"][len(encoded.context) - 1][1] <= len(context)
        assert encoded.length == len(answer.text)


def test_a_merge_over_the_boundary_is_scored_not_given():
    tok = with_template("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}", tiny_model(TEXTS)[1])
    first, second = spelled(tok, question("why?", "water", "42"))
    assert first[0] == second[0] and first[0].endswith("assistant:")
    assert (first[1], second[1]) == (" water", " 42")
    assert " water" in [tok.decode([i]) for i in tok(": water")["input_ids"]]  # one token over the boundary


def test_slow_tokenizers_without_offsets_share_a_context_too():
    class Slow:
        """Merges a space with the letter after it, and can tell no offsets."""

        is_fast, bos_token_id, chat_template = False, None, "x"

        def __call__(self, texts, **kwargs):
            return {"input_ids": [self.ids(t) for t in texts] if isinstance(texts, list) else self.ids(texts)}

        def ids(self, text):
            out = []
            for c in text:
                if out and out[-1] == 32 and c.isalpha():
                    out[-1] = 1000 + ord(c)
                else:
                    out.append(ord(c))
            return out

        def decode(self, ids):
            return "".join(" " + chr(i - 1000) if i >= 1000 else chr(i) for i in ids)

        def apply_chat_template(self, messages, tokenize, **kwargs):
            return "".join(f"{m['role']}: {m['content']}\n" for m in messages)

    tok = Slow()
    assert spelled(tok, question("why?", "water", "42")) == [
        ("user: why?\nassistant:", " water"),
        ("user: why?\nassistant:", " 42"),
    ]


def test_stripped_answers_are_scored_as_they_are_written():
    asked = question(" why?\n", "  the wind \n", "the rope", "\tsand")
    for template, expected in (
        (TRIMS, ["the wind", "the rope", "sand"]),
        (CHATML, [a.text for a in asked.answers]),
    ):
        tok = with_template(template)
        found = encode([asked], tok, prompt="chat").answers
        assert [tok.decode(a.continuation) for a in found] == expected
        assert [a.length for a in found] == [len(text) for text in expected]


def test_dropped_thinking_is_neither_given_nor_scored():
    tok = with_template(DROPS_THINKING)
    asked = question("why?", "<think>hm, rope?</think>the wind", "the rope")
    found = encode([asked], tok, prompt="chat").answers
    assert [tok.decode(a.continuation) for a in found] == ["the wind", "the rope"]
    assert found[0].context == found[1].context and found[0].divisor == len("the wind")


def test_a_question_that_the_template_rewrites_is_left_out_and_named(caplog):
    tok = with_template(CHATML.replace("m.content", "m.content.replace('rope', 'wire')"))
    asked = [WIND, question("why?", "wood", "stone", id="fine")]
    found = encode(asked, tok, prompt="chat")
    assert found.left_out == ("q",) and {a.key[0] for a in found.answers} == {"fine"}
    assert "rewrites" in found.rewritten["q"]
    model, _ = tiny_model(TEXTS)
    own = with_template(tok.chat_template, tiny_model(TEXTS)[1])
    with caplog.at_level(logging.WARNING, "hre_callback"):
        logging.getLogger("transformers").addHandler(caplog.handler)
        result = HumanRankEvaluator(asked, own, HREConfig(prompt="chat")).evaluate(model)
        logging.getLogger("transformers").removeHandler(caplog.handler)
    assert result.left_out == 1 and result.n == 1
    assert "leaves out 1 of 2 questions: q (the chat template rewrites the question or an answer)" in caplog.text
    with pytest.raises(ValueError, match="for every question .*'q'"):
        encode([WIND], tok, prompt="chat")


@pytest.mark.parametrize("template", [CHATML, "{{ bos_token }}" + CHATML, "\n {{ bos_token }}" + CHATML])
@pytest.mark.parametrize("asked", ["why?", "<s>", "is <s> a tag?"])
def test_one_bos_whatever_the_question_holds(template, asked):
    tok = with_template(template)
    tok.backend_tokenizer.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 1)])
    for encoded in encode([question(asked, "because", "no")], tok, prompt="chat").answers:
        assert encoded.context.count(tok.bos_token_id) == 1 + asked.count("<s>")


FAMILIES = sorted(path.stem for path in (Path(trl.__file__).parent / "chat_templates").glob("*.jinja"))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_templates_of_real_models(family):
    """Every template that TRL ships: the parts make the whole, the question stands before, the answer is scored."""
    tok = with_template((Path(trl.__file__).parent / "chat_templates" / f"{family}.jinja").read_text())
    template = ChatTemplate(tok)
    texts = (
        "why does it fall?",
        " \u00e9nd\n",
        "assistant",
        "user",
        "end",
        "<think>\nhm\n</think>\n\nthe wind",
    )
    for asked in texts[:4]:
        for answer in texts[:5]:
            found = template.around(asked, answer)
            assert found.context + found.answer + found.closing == template.render(asked, answer)
            assert found.answer in answer and found.answer.strip() == answer.strip()
            assert asked.strip() in found.context
    found = encode([question("why?", *texts), question("why?", *texts[:5], id="plain")], tok, prompt="chat")
    assert "plain" not in found.left_out
    if not found.rewritten:  # else the template rewrites the thinking of an answer, and says so
        for encoded, text in zip(found.answers, texts, strict=False):
            scored = tok.decode(encoded.continuation).strip()
            assert scored and text.strip().endswith(scored)


# Processors, arguments ------------------------------------------------------------------------------------------------


class Processor(ProcessorMixin):
    """A real processor class around a tokenizer alone."""

    def __init__(self, tokenizer, chat_template=None):
        self.tokenizer, self.chat_template = tokenizer, chat_template


@pytest.mark.parametrize(
    "kind", [Processor, lambda tok, template: SimpleNamespace(tokenizer=tok, chat_template=template)]
)
def test_a_processor_s_own_template_comes_first(kind):
    for of_tokenizer in (None, CHATML):
        tok = with_template(of_tokenizer)
        found = encode([WIND], kind(tok, SPACE), prompt="chat").answers
        assert tok.decode(found[0].context) == "USER: why does it fall?\nASSISTANT:"
    found = encode([WIND], kind(with_template(CHATML), None), prompt="chat").answers
    assert "<|im_start|>user" in tok.decode(found[0].context)
    with pytest.raises(ValueError, match="needs a tokenizer or processor with a chat template"):
        encode([WIND], kind(with_template(None), None), prompt="chat")


def test_a_processor_s_template_scores_and_is_left_as_it_was():
    model, tok = tiny_model(TEXTS)
    processor = Processor(tok, LLAVA)
    result = HumanRankEvaluator(questions(), processor, HREConfig(prompt="chat")).evaluate(model)
    assert result.n == len(questions()) and result.rendering
    assert (processor.chat_template, tok.chat_template) == (LLAVA, None)
    rewards = score_rewards([reward_model(tok)], questions(), HREConfig(prompt="chat"), processor)
    assert len(next(iter(rewards.values()))) == len(questions())


def test_arguments_reach_the_template():
    tok = with_template(THINKING)
    assert spelled(tok, WIND)[0][0].endswith("<think></think>")
    assert spelled(tok, WIND, chat_template_kwargs={"enable_thinking": True})[0][0].endswith("assistant\n")
    config = HREConfig(prompt="chat", chat_template_kwargs={"enable_thinking": True})
    model = tiny_model(TEXTS)[0]
    own = with_template(THINKING, tiny_model(TEXTS)[1])
    with_thinking = HumanRankEvaluator(questions(), own, config).evaluate(model)
    assert (
        with_thinking.rendering
        != HumanRankEvaluator(questions(), own, HREConfig(prompt="chat")).evaluate(model).rendering
    )


def test_a_trainer_s_own_arguments_are_taken_unless_hre_has_some(tmp_path):
    from trl import GRPOConfig, GRPOTrainer

    tok = with_template(THINKING, tokenizer())
    args = arguments(
        tmp_path, GRPOConfig, max_steps=1, num_generations=2, max_completion_length=4,
        chat_template_kwargs={"enable_thinking": True},
    )  # fmt: skip
    for given, expected in ((None, {"enable_thinking": True}), ({}, {})):
        callback = HumanRankEvalCallback(questions(), HREConfig(prompt="chat", chat_template_kwargs=given))
        trainer = GRPOTrainer(
            dropout_model(tok), [lambda completions, **kwargs: [0.0] * len(completions)], args=args,
            train_dataset=Dataset.from_list([{"prompt": [{"role": "user", "content": text}]} for text in TEXTS[:4]]),
            processing_class=tok, callbacks=[callback],
        )  # fmt: skip
        trainer.train()
        run = read_record(tmp_path).run
        assert run.config["chat_template_kwargs"] == expected
        assert run.identity["rendering"] == callback.evaluator.rendering
        thinks = "<think>" in tok.decode(next(iter(callback.evaluator._material.answers.values())).context)
        assert thinks == (expected == {})


# Identity -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def day(monkeypatch):
    class Day(datetime):
        of_month = 9

        @classmethod
        def now(cls, tz=None):
            return datetime(2025, 1, cls.of_month)

    monkeypatch.setattr(template_utils, "datetime", Day)
    return Day


def test_the_paper_s_identity_is_what_it_was():
    assert HREConfig().identity() == {"prompt": "paper", "normalization": "characters", "max_length": None}
    model, tok = tiny_model(TEXTS)
    result = HumanRankEvaluator(questions(), tok).evaluate(model)
    assert result.rendering is None
    assert score_rows(result, questions())[0]["scoring"] == HREConfig().identity()


def test_another_day_or_template_is_noticed_by_compare(day):
    model, tok = tiny_model(TEXTS)
    config = HREConfig(prompt="chat")

    def scores(template):
        result = HumanRankEvaluator(questions(), with_template(template, tok), config).evaluate(model)
        return {row["id"]: row for row in score_rows(result, questions(), config)}

    first = scores(DATED)
    assert compare_scores(first, scores(DATED)).delta == 0
    for later in (CHATML, DATED):
        day.of_month += later == DATED
        with pytest.raises(
            ValueError, match="not comparable.*another template, other arguments, or another day's date"
        ):
            compare_scores(first, scores(later))


def test_another_day_is_noticed_by_resume(day, tmp_path):
    settings = {"save_strategy": "steps", "save_steps": 2, "max_steps": 4}

    def train(**resume):
        trainer = sft_trainer(tmp_path, [HumanRankEvalCallback(questions(), HREConfig(prompt="chat"))], **settings)
        trainer.processing_class.chat_template = DATED
        trainer.train(**resume)

    train()
    train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    day.of_month = 10
    with pytest.raises(ValueError, match="cannot be continued.*another day's date"):
        train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))


def test_a_day_that_turns_while_encoding_loses_no_question(monkeypatch):
    class Turning(datetime):
        calls = 0

        @classmethod
        def now(cls, tz=None):
            cls.calls += 1
            return datetime(2025, 1, 9 if cls.calls < 9 else 10)

    monkeypatch.setattr(template_utils, "datetime", Turning)
    found = encode(questions(), with_template(DATED), prompt="chat")
    assert not found.left_out and len(found.answers) == 24 and Turning.calls > 9


def test_the_order_of_questions_is_no_other_rendering():
    tok = with_template(CHATML)
    asked = questions()
    assert encode(asked, tok, prompt="chat").rendering == encode(asked[::-1], tok, prompt="chat").rendering


# What the training data is --------------------------------------------------------------------------------------------


def rows_of(tok, **columns):
    return Dataset.from_list([columns])


@pytest.mark.parametrize("template", [CHATML, LLAVA, DATED, TRIMS])
def test_training_data_in_chat_form_is_seen(template):
    tok = with_template(template)
    messages = [{"role": "user", "content": "say water"}, {"role": "assistant", "content": "water"}]
    rendered = ChatTemplate(tok).render("say water", "water")
    ids = tok(rendered, add_special_tokens=False)["input_ids"]
    for columns in (
        {"messages": messages}, {"prompt": messages[:1]}, {"chosen": messages, "rejected": messages}, {"text": rendered},
        {"prompt": rendered}, {"input_ids": ids}, {"prompt_ids": ids, "completion_ids": [5, 6]}, {"chosen_ids": ids},
        {"conversations": [{"from": "human", "value": "hi"}]},
    ):  # fmt: skip
        assert trained_on_chat(Dataset.from_list([columns]), tok) is True, columns
    for columns in (
        {"text": "say water"},
        {"prompt": "say", "completion": " water"},
        {"input_ids": tok("say")["input_ids"]},
    ):
        assert trained_on_chat(Dataset.from_list([columns]), tok) is False, columns


BROKEN = {
    "template": (CHATML + "{{ nothing.at_all }}", {"text": "x"}),
    "tokens": (CHATML, {"input_ids": [10**9, -100]}),
    "drops the question": (REFUSED["no question"][0], {"text": "x"}),
}


@pytest.mark.parametrize("name", sorted(BROKEN))
def test_what_cannot_be_seen_is_said_and_never_raised(name, caplog):
    template, columns = BROKEN[name]
    logger = logging.getLogger("transformers")
    logger.addHandler(caplog.handler)
    assert trained_on_chat(Dataset.from_list([columns]), with_template(template)) is None
    logger.removeHandler(caplog.handler)
    assert "could not see whether the training data is conversational" in caplog.text


@pytest.mark.parametrize(
    "dataset", [None, [], Dataset.from_list([]), Dataset.from_list([{"image": [1.0]}]), iter("ab")]
)
def test_data_without_text_is_unknown(dataset):
    assert trained_on_chat(dataset, with_template(CHATML)) is None
    assert trained_on_chat(dataset, with_template(None)) is None
    assert trained_on_chat(Dataset.from_list([{"text": "x"}]), object()) is None


# Reward models --------------------------------------------------------------------------------------------------------


def test_reward_models_read_the_same_rendering(tmp_path):
    seen = []
    tok = with_template(LLAVA, tokenizer())
    asked = questions(2)

    class Spy(type(tok)):
        def __call__(self, text, *args, **kwargs):
            seen.append(text)
            return super().__call__(text, *args, **kwargs)

    tok.__class__ = Spy
    score_rewards([reward_model(tok)], asked, HREConfig(prompt="chat"), tok)
    assert seen[-1][0] == ChatTemplate(tok).render(asked[0].question, asked[0].answers[0].text)
    assert asked[0].question in seen[-1][0]


def test_a_reward_model_by_name_brings_its_own_template(tmp_path):
    own = with_template(SPACE, tokenizer())
    own.save_pretrained(tmp_path / "rm")
    reward_model(own).save_pretrained(tmp_path / "rm")
    asked, config = questions(2), HREConfig(prompt="chat")
    by_name = score_rewards([str(tmp_path / "rm")], asked, config, with_template(CHATML, tokenizer()))
    as_module = score_rewards([reward_model(own)], asked, config, own)
    assert next(iter(by_name.values())) == [pytest.approx(row) for row in next(iter(as_module.values()))]


# The option -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [[1], 3, True, "thinking", "[1]", {"x": float("nan")}, {"x": object()}, ""])
def test_arguments_must_be_a_json_object(given):
    with pytest.raises(ValueError, match="HREConfig.chat_template_kwargs is .*JSON object"):
        HREConfig(chat_template_kwargs=given)


def test_arguments_that_change_what_comes_back_are_refused():
    for name in ("tokenize", "add_generation_prompt", "continue_final_message"):
        with pytest.raises(ValueError, match=f"chat_template_kwargs has '{name}'"):
            HREConfig(chat_template_kwargs={name: True})


def test_arguments_on_the_command_line_and_in_code_are_one_config(tmp_path):
    import yaml
    from trl import SFTConfig, TrlParser

    from hre_callback import HREArguments

    expected = HREConfig(chat_template_kwargs={"enable_thinking": False, "date_string": "9 Jan 2025"})
    spelled = json.dumps(expected.chat_template_kwargs)
    command = ["--output_dir", str(tmp_path), "--use_cpu", "true", "--hre_chat_template_kwargs", spelled]
    parser = TrlParser((SFTConfig, HREArguments))
    assert parser.parse_args_and_config(command)[1].to_config() == expected
    path = tmp_path / "run.yaml"
    path.write_text(
        yaml.safe_dump({"output_dir": str(tmp_path), "use_cpu": True, "hre_chat_template_kwargs": json.loads(spelled)})
    )
    assert parser.parse_args_and_config(["--config", str(path)])[1].to_config() == expected
    assert hash(expected) and json.dumps(expected.as_dict())
    given = {"a": [1]}
    config = HREConfig(chat_template_kwargs=given)
    given["a"].append(2)
    assert config.chat_template_kwargs == {"a": [1]}


def test_hre_score_passes_the_arguments_on(tmp_path, capsys):
    model, tok = tiny_model(TEXTS)
    model.save_pretrained(tmp_path / "model")
    with_template(THINKING, tok).save_pretrained(tmp_path / "model")
    rows = []
    for given in ('{"enable_thinking": true}', '{"enable_thinking": false}'):
        command = ["score", str(tmp_path / "model"), "bundled", "--limit", "4", "--prompt", "chat", "--quiet"]
        app(
            [*command, "--chat-template-kwargs", given, "--out", str(tmp_path / "s.jsonl")],
            standalone_mode=False,
        )
        rows.append(json.loads((tmp_path / "s.jsonl").read_text().splitlines()[0]))
    assert rows[0]["scoring"] != rows[1]["scoring"] and rows[0]["loglikelihoods"] != rows[1]["loglikelihoods"]
    with pytest.raises(ValueError, match="chat_template_kwargs is 'thinking'; it must be a JSON object"):
        app([*command, "--chat-template-kwargs", "thinking"], standalone_mode=False)


def test_a_tokenizer_with_a_way_of_its_own_needs_no_template():
    class Mistral:
        """As mistral-common's: renders, and has no Jinja template at all."""

        def __init__(self, tok):
            self.tok, self.bos_token_id = tok, tok.bos_token_id

        def __call__(self, *args, **kwargs):
            return self.tok(*args, **kwargs)

        def apply_chat_template(self, messages, tokenize, **kwargs):
            return f"<s>[INST] {messages[0]['content']} [/INST] {messages[1]['content']}</s>"

    found = encode([WIND], Mistral(byte_level()), prompt="chat").answers
    assert byte_level().decode(found[0].context) == "<s>[INST] why does it fall? [/INST]"
    assert trained_on_chat(Dataset.from_list([{"text": "hm"}]), Mistral(byte_level())) is False


def test_every_tokenizer_kind_has_a_boundary():
    for name, tok in TOKENIZERS.items():
        before = tok.chat_template
        try:
            found = encode([WIND], with_template(TRIMS, tok), prompt="chat").answers
        finally:
            tok.chat_template = before
        assert len(found) == 2 and found[0].context == found[1].context, name
