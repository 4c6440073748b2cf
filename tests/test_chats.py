"""Chat templates as checkpoints bring them: each is rendered, and what it made is held against what
it was given."""

from __future__ import annotations

import copy
import datetime
import re

import pytest
from conftest import CHAT, byte_level_tokenizer

from probebench.errors import UsageError
from probebench.tasks.chats import DAY, end_of_turn, missing_turn, render_chat
from probebench.tasks.prompts import chat

PARTS = (
    "{% for m in messages %}[{{ m['role'] }}]{% for part in m['content'] %}{% if part['type'] == "
    "'text' %}{{ part['text'] }}"
    "{% endif %}{% endfor %}{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"
)
FIRST_PART = "{% for m in messages %}[{{ m.role }}]{{ m.content[0].text | trim }}{% endfor %}"
ALTERNATE = (
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ "
    "raise_exception('Roles must alternate') }}"
    "{% endif %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}"
)
DROPS_SYSTEM = (
    "{% for m in messages %}{% if m['role'] != 'system' %}<{{ m['role'] }}>{{ m['content'] }}{% "
    "endif %}{% endfor %}"
)
LAST = "<user>{{ messages[-1]['content'] }}"
TURNS = [
    ("system", "Copy words."),
    ("user", "Who?  Anna\nSmith."),
    ("assistant", "Anna Smith"),
    ("user", "Where? Paris."),
]


@pytest.fixture(scope="module")
def tokenizer_with():
    plain = byte_level_tokenizer(chat=False)

    def make(template):
        tokenizer = copy.deepcopy(plain)
        tokenizer.chat_template = template
        return tokenizer

    return make


def test_an_ordinary_template_gets_what_it_always_got(tokenizer_with):
    assert (
        chat(tokenizer_with(CHAT), " Where is it? ") == "<bos><|user|> Where is it? <|assistant|>"
    )
    several = render_chat(tokenizer_with(CHAT), TURNS)
    assert (
        several == "<bos>" + "".join(f"<|{role}|>{text}" for role, text in TURNS) + "<|assistant|>"
    )


@pytest.mark.parametrize("template", [PARTS, FIRST_PART])
def test_templates_that_want_parts_get_parts(tokenizer_with, template):
    assert chat(tokenizer_with(template), "Where is it?").startswith("[user]Where is it?")
    assert missing_turn(render_chat(tokenizer_with(template), TURNS), TURNS) is None


@pytest.mark.parametrize("template", [ALTERNATE, DROPS_SYSTEM])
def test_a_system_text_goes_to_the_user_where_the_template_has_no_place_for_it(
    tokenizer_with, template
):
    rendered = render_chat(tokenizer_with(template), TURNS)
    assert rendered.startswith("<user>Copy words.\n\nWho?  Anna\nSmith.<assistant>Anna Smith<user>")


def test_a_lost_text_is_refused_with_its_beginning(tokenizer_with):
    assert chat(tokenizer_with(LAST), "Where?") == "<user>Where?"
    with pytest.raises(
        UsageError,
        match=r"leaves the system's text out of the prompt.*'Copy words\.' does not stand in",
    ):
        render_chat(tokenizer_with(LAST), TURNS)
    with pytest.raises(
        UsageError, match=r"leaves the user's text out.*'Where is it\?'.*'no question here'"
    ):
        chat(tokenizer_with("no question here"), "Where is it?")
    with pytest.raises(UsageError, match="leaves the user's text out"):
        chat(
            tokenizer_with("{{ messages[0].content[:20] }}"),
            "Where was the old poet born, and when?",
        )


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        (
            "{{ raise_exception('After the optional system message, roles alternate.') }}",
            "roles alternate",
        ),
        ("{{ 'Answer ' + style }}{{ messages[0].content }}", "'style' is undefined"),
        ("{% for m in messages %}{{ m.content }}", "Unexpected end of template"),
        ("{{ messages[0].content }}{{ 1 / 0 }}", "division by zero"),
        ("{{ messages[0].content.missing() }}", "missing"),
    ],
)
def test_a_template_that_raises_is_one_line(tokenizer_with, template, reason):
    with pytest.raises(
        UsageError, match="The chat template of .* raises for the turns user: "
    ) as caught:
        chat(tokenizer_with(template), "Where?")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_escaped_and_trimmed_texts_count_as_there():
    text = 'Who said "no"?\n\n  And é?'
    turns = [("user", text)]
    assert missing_turn('<user>Who said "no"? And é?</user>', turns) is None
    assert missing_turn(r'{"content": "Who said \"no\"?\n\n  And é?"}', turns) is None
    assert missing_turn(r'{"content": "Who said \"no\"?\n\n  And \u00e9?"}', turns) is None
    assert missing_turn('Who said "no"?', turns) == turns[0]
    assert missing_turn("b a", [("user", "a"), ("assistant", "b")]) == ("assistant", "b")


FORMS = "%Y-%m-%d|%d %b %Y|%B %d, %Y|%A|%H:%M|%-d %B %y|%j"


@pytest.mark.parametrize(
    "lead", ["", "\n", "  \n", "   {% if true %}\n", "text\n   {% if true %}\n"]
)
def test_the_clock_of_a_template_stands_still(tokenizer_with, monkeypatch, lead):
    import transformers.utils.chat_template_utils as library

    day = datetime.datetime(2031, 5, 17, 9, 30)
    monkeypatch.setattr(
        library,
        "datetime",
        type("Clock", (datetime.datetime,), {"now": classmethod(lambda cls, tz=None: day)}),
    )
    body = (
        "{% macro inside() %}{{ strftime_now('%Y') }}{% endmacro %}{{ strftime_now('"
        + FORMS
        + "') }} {{ inside() }}\n"
        "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    )
    tokenizer = tokenizer_with(lead + body + ("{% endif %}" if "if" in lead else ""))
    usual = tokenizer.apply_chat_template([{"role": "user", "content": "Where?"}], tokenize=False)
    assert day.strftime(FORMS) in usual
    standing = usual.replace(day.strftime(FORMS), DAY.strftime(FORMS)).replace(" 2031\n", " 2024\n")
    assert chat(tokenizer, "Where?") == standing  # all else to the letter, white space too


def test_a_template_s_end_of_turn_token_is_found(tokenizer_with):
    tokenizer = tokenizer_with(
        "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}\n<eos>{% endfor %}"
    )
    assert end_of_turn(tokenizer) == tokenizer.eos_token_id
    tokenizer.chat_template = tokenizer.chat_template.replace("<eos>", "<pad>")
    assert end_of_turn(tokenizer) == tokenizer.pad_token_id
    tokenizer.chat_template = PARTS.replace("{% endfor %}{% if", "<eos>{% endfor %}{% if")
    assert end_of_turn(tokenizer) == tokenizer.eos_token_id
    assert end_of_turn(tokenizer_with(None)) is None
    assert end_of_turn(tokenizer_with(CHAT)) is None
    assert end_of_turn(tokenizer_with("{{ raise_exception('no') }}")) is None


def test_templates_with_a_date_of_their_own_say_ours(tokenizer_with):
    assert re.fullmatch(
        r"26 Jul 2024 Who\?",
        chat(tokenizer_with("{{ date_string }} {{ messages[0]['content'] }}"), "Who?"),
    )
