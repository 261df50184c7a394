"""Questions of several turns: every message is in the context, in its order, or the question is left out by name."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import trl

from hre_callback import Answer, HREConfig, HumanRankEvaluator, Question
from hre_callback.data.messages import paper_context
from hre_callback.scoring.chat import ChatTemplate
from hre_callback.scoring.encoding import encode
from hre_callback.scoring.rewards import score_rewards

from ..trainers import dropout_model, questions, tokenizer
from .test_chat import CHATML, DATED, DROPS_THINKING, FAMILIES, PARTS, TRIMS, USER_PARTS, with_template
from .test_rewards import reward_model

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:.*torch.jit.script.*")

SYSTEM = {"role": "system", "content": "Be a"}
FIRST = {"role": "user", "content": "why does it fall?"}
REPLY = {"role": "assistant", "content": "a"}
SECOND = {"role": "user", "content": " why?\n"}
CALL = {
    "role": "assistant",
    "content": "",
    "tool_calls": [{"type": "function", "function": {"name": "look", "arguments": {"where": "up"}}}],
}
TOOL = {"role": "tool", "name": "look", "content": "a rope"}
TOOLS = CHATML.replace("{{ m.content }}", "{% if m.tool_calls %}<call>{{ m.tool_calls[0].function.name }}</call>{% endif %}{{ m.content }}")  # fmt: skip
NO_SYSTEM = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" + CHATML
)
DROPS_SYSTEM = CHATML.replace("{{ m.content }}", "{% if m.role != 'system' %}{{ m.content }}{% endif %}")
SYSTEM_PLAIN = PARTS.replace("{% for c in m.content %}", "{% if m.role == 'system' %} {{ m.content + '!' }}{% else %}{% for c in m.content %}").replace("{% endfor %}\n", "{% endfor %}{% endif %}\n")  # fmt: skip


def talk(*messages, answers=("the wind", "the rope")):
    return Question("q", messages, tuple(Answer(text, i) for i, text in enumerate(answers)))


def given(tok, asked):
    encoding = encode([asked, PLAIN], tok, prompt="chat")
    contexts = {tok.decode(a.context) for a in encoding.answers if a.key[0] == "q"}
    assert len(contexts) <= 1
    return next(iter(contexts), None), encoding


PLAIN = Question("plain", "why?", (Answer("a", 1), Answer("b", 0)))


def in_order(context, messages):
    at = 0
    for message in messages:
        at = context.index(message["content"].strip(), at) + len(message["content"].strip())
    return True


@pytest.mark.parametrize("template", [CHATML, TRIMS, PARTS, USER_PARTS, SYSTEM_PLAIN, DATED, TOOLS])
def test_every_turn_is_given_in_its_order_and_the_answer_alone_is_scored(template):
    tok = with_template(template)
    asked = talk(SYSTEM, FIRST, REPLY, SECOND)
    context, encoding = given(tok, asked)
    assert in_order(context, asked.question) and not encoding.left_out
    scored = [tok.decode(a.continuation).strip() for a in encoding.answers if a.key[0] == "q"]
    assert all(one.startswith(answer.text) for one, answer in zip(scored, asked.answers, strict=True))


def test_a_conversation_of_one_turn_is_the_question_itself():
    tok = with_template(CHATML)
    one, _ = given(tok, Question("q", (FIRST,), PLAIN.answers))
    other, _ = given(tok, Question("q", FIRST["content"], PLAIN.answers))
    assert one == other == "<|im_start|>user\nwhy does it fall?<|im_end|>\n<|im_start|>assistant\n"


def test_tool_calls_and_their_results_are_written_by_the_template():
    context, encoding = given(with_template(TOOLS), talk(FIRST, CALL, TOOL))
    assert "<call>look</call>" in context and "a rope" in context and not encoding.left_out


LEFT_OUT = {
    "no system": (NO_SYSTEM, "the chat template fails .*System role not supported"),
    "system dropped": (DROPS_SYSTEM, r"writes message 1 of the conversation \(system\) 0 times"),
    "twice": (CHATML + "{% if messages | length > 2 %}{{ messages[1].content }}{% endif %}", r"message 2 .*\(user\) 2 times"),
    "turned round": ("{% for m in messages | sort(attribute='role') | reverse %}{{ m.role }}:{{ m.content }}\n{% endfor %}", "changes the order of the messages"),
    "rewritten": (CHATML.replace("m.content", "m.content | replace('rope', 'cord') if m.role == 'user' else m.content"), "rewrites the question"),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(LEFT_OUT))
def test_a_conversation_that_the_template_does_not_keep_is_left_out_and_says_why(name):
    template, reason = LEFT_OUT[name]
    last = {**SECOND, "content": "why the rope?"}
    asked = talk(SYSTEM, FIRST, REPLY, last)
    encoding = encode([asked, PLAIN], with_template(template), prompt="chat")
    assert encoding.left_out == ("q",) and {a.key[0] for a in encoding.answers} == {"plain"}
    assert re.search(reason, encoding.rewritten["q"]), encoding.rewritten


def test_thinking_of_earlier_turns_may_be_dropped_as_the_template_does_it():
    thought = {"role": "assistant", "content": "<think>hm</think>Gravity."}
    context, encoding = given(with_template(DROPS_THINKING), talk(FIRST, thought, SECOND))
    assert "Gravity." in context and "hm" not in context and not encoding.left_out


@pytest.mark.parametrize("family", FAMILIES)
def test_the_templates_of_real_models_keep_every_turn_or_say_why(family):
    template = (Path(trl.__file__).parent / "chat_templates" / f"{family}.jinja").read_text()
    for messages in (
        (SYSTEM, FIRST, REPLY, SECOND),
        (FIRST, {**REPLY, "content": "Gravity."}, SECOND),
        (FIRST, CALL, TOOL),
    ):
        asked = talk(*messages)
        tok = with_template(template)
        context, encoding = given(tok, asked)
        if context is None:
            assert encoding.rewritten["q"]
            continue
        rendering = ChatTemplate(tok).render(asked.question, "the wind")
        assert rendering.startswith(context.removeprefix(tok.bos_token or "")) or context in rendering
        assert in_order(context, asked.question)


def test_the_score_is_that_of_a_naive_loop_in_both_prompts():
    tok = tokenizer()
    tok.chat_template = CHATML
    model = dropout_model(tok).eval()
    asked = [replace(q, question=(SYSTEM, FIRST, REPLY, {"role": "user", "content": q.question})) for q in questions(3)]
    template = ChatTemplate(tok)
    for prompt in ("paper", "chat"):
        result = HumanRankEvaluator(asked, tok, HREConfig(prompt=prompt)).evaluate(model)
        for q, found in zip(asked, result.loglikelihoods, strict=True):
            for answer, number in zip(q.answers, found, strict=True):
                if prompt == "paper":
                    context, joint = paper_context(q.question), f"{paper_context(q.question)} {answer.text}"
                else:
                    whole = template.render(q.question, answer.text)
                    context, joint = (
                        whole[: whole.rindex(answer.text)],
                        whole[: whole.rindex(answer.text) + len(answer.text)],
                    )
                ids = tok(joint, add_special_tokens=False)["input_ids"]
                start = len(tok(context, add_special_tokens=False)["input_ids"])
                with torch.no_grad():
                    logp = model(torch.tensor([ids])).logits.log_softmax(-1)
                naive = sum(logp[0, i - 1, ids[i]].item() for i in range(start, len(ids)))
                assert number == pytest.approx(naive, abs=1e-3)


def test_rewards_get_the_conversation_in_trl_s_form():
    asked = [replace(q, question=(SYSTEM, {"role": "user", "content": q.question})) for q in questions(2)]
    seen = {}

    def reward(prompts, completions, **kwargs):
        seen["prompts"] = prompts
        return [0.0] * len(prompts)

    tok = tokenizer()
    score_rewards([reward], asked, HREConfig(prompt="paper"), tok)
    assert seen["prompts"][0] == f"System: Be a\n\nQuestion: {asked[0].question[1]['content']}\nAnswer:"
    tok.chat_template = CHATML
    score_rewards([reward, reward_model(tok)], asked, HREConfig(prompt="chat"), tok)
    assert seen["prompts"][0] == [dict(message) for message in asked[0].question]
