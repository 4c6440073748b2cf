import itertools

import pytest
from conftest import TEXT, byte_level_tokenizer, metaspace_tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st

from probebench.tasks.exact.spans import decode, token_spans, tokens_of
from probebench.types import Span

TOKENIZERS = {"byte-level": byte_level_tokenizer(chat=True), "metaspace": metaspace_tokenizer()}
characters = st.sampled_from([*sorted(set(TEXT)), "é", "北", "🏳️‍🌈", "  ", "\n"])
texts = st.lists(characters, max_size=30).map("".join)


@pytest.mark.parametrize("name", TOKENIZERS)
@settings(max_examples=150, deadline=None)
@given(text=texts)
def test_pieces_cover_the_text_in_order(name, text):
    tokenizer = TOKENIZERS[name]
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    whole, spans = decode(tokenizer, ids), token_spans(tokenizer, ids)
    assert len(spans) == len(ids)
    covered = "".join(whole[s.start : s.end] for s in dict.fromkeys(spans))
    assert covered == whole
    assert all(a.start <= b.start for a, b in itertools.pairwise(spans))


@pytest.mark.parametrize("name", TOKENIZERS)
@settings(max_examples=150, deadline=None)
@given(
    before=texts,
    exact=st.sampled_from(["Paris", "Größe", "東京", "🙂", "1896", "e\u0301"]),
    after=texts,
)
def test_the_tokens_of_a_span_decode_to_it(name, before, exact, after):
    tokenizer = TOKENIZERS[name]
    ids = tokenizer(before + exact + after, add_special_tokens=False)["input_ids"]
    text = decode(tokenizer, ids)
    if exact not in text:
        return  # the pieces tokenizer writes unknown characters as bytes and may normalise spaces
    start = text.index(exact)
    first, last = tokens_of(Span(start, start + len(exact)), token_spans(tokenizer, ids))
    assert exact in decode(tokenizer, ids[: last + 1])
    assert exact not in decode(tokenizer, ids[:last]) or text.index(exact) + len(exact) <= len(
        decode(tokenizer, ids[:last])
    )
    assert len(decode(tokenizer, ids[:first]).rstrip("\ufffd")) <= start


def test_character_over_several_tokens_belongs_to_all_of_them():
    tokenizer = TOKENIZERS["byte-level"]
    ids = tokenizer("a🏳b", add_special_tokens=False)["input_ids"]
    spans = token_spans(tokenizer, ids)
    assert len(ids) > 3
    assert tokens_of(Span(1, 2), spans) == (1, len(ids) - 2)


def test_repeated_occurrence_is_told_apart_by_its_characters():
    tokenizer = TOKENIZERS["byte-level"]
    ids = tokenizer("Paris is Paris", add_special_tokens=False)["input_ids"]
    spans = token_spans(tokenizer, ids)
    first, second = tokens_of(Span(0, 5), spans), tokens_of(Span(9, 14), spans)
    assert first[1] < second[0]


def test_special_tokens_have_no_characters():
    tokenizer = TOKENIZERS["byte-level"]
    ids = [*tokenizer("in Paris", add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    assert token_spans(tokenizer, ids)[-1] == Span(8, 8)


def test_empty_span_has_no_tokens():
    assert tokens_of(Span(3, 3), [Span(0, 3), Span(3, 5)]) is None
