"""Chat templates of models that think, with tokenizers built here."""

from conftest import TEXT

USER = "{{ '<|im_start|>user\n' + messages[-1].content + '<|im_end|>\n<|im_start|>assistant\n' }}"


TEMPLATES = {
    # the model opens by itself; enable_thinking=False injects an empty pair
    "qwen3": USER + "{% if enable_thinking is defined and enable_thinking is false %}"
    "{{ '<think>\n\n</think>\n\n' }}{% endif %}",
    # the template opens
    "r1": USER + "{{ '<think>\n' }}",
    # the template opens, or closes alone
    "v3.1": USER + "{% if thinking %}{{ '<think>' }}{% else %}{{ '</think>' }}{% endif %}",
    "gpt-oss": (
        "{{ '<|start|>system<|message|>Reasoning: low<|end|><|start|>user<|message|>' + "
        "messages[-1].content + '<|end|><|start|>assistant' }}"
    ),
}


SPECIAL = {
    "qwen3": ["<|im_start|>", "<|im_end|>", "<think>", "</think>"],
    "r1": ["<|im_start|>", "<|im_end|>", "<think>", "</think>"],
    "v3.1": ["<|im_start|>", "<|im_end|>", "<think>", "</think>"],
    "gpt-oss": ["<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|return|>"],
}


def tokenizer_of(kind, *, single_tokens=True):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    bpe.train_from_iterator(
        [TEXT + "\n\n\n\n"], trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet)
    )
    fast = PreTrainedTokenizerFast(tokenizer_object=bpe)
    fast.add_tokens(SPECIAL[kind] if single_tokens else SPECIAL[kind][:2])
    fast.chat_template = TEMPLATES[kind]
    return fast
