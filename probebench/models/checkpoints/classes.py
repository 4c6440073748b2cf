"""Classes: which one of transformers reads a checkpoint, and the model that it makes before there
are weights.

Decoders that also look at pictures or hear are read through their text part: given token ids alone,
they do what the decoder inside them does. Where transformers has a class for that part only, it is
taken, since it needs less memory.
"""

from __future__ import annotations

import copy
import inspect
from importlib.metadata import version
from typing import Any

from probebench.errors import UsageError
from probebench.models.checkpoints.folders import Checkpoint
from probebench.models.passes.padding import pad_inside

HALVES = (("encoder_layers", "decoder_layers"), ("num_encoder_layers", "num_decoder_layers"))
"""What configs call the number of blocks of each half."""
WHOLE = ("emu3",)
"""Types whose class for the text part alone cannot read the weights of a whole checkpoint."""
OTHER_INPUTS = ("pixel_values", "input_features", "input_values", "inputs_embeds")
"""What a model that cannot do without is given beside token ids."""
BOTH_WAYS_SINCE = (5, 23)
"""Version of transformers in which PaliGemma can be run as a plain decoder; in 5.0 padding changes
its answers."""
OWN_GENERATE = ("janus", "qwen2_5_omni", "qwen3_omni_moe")
"""Types whose own generate() takes nobody along to look at the scores of each token."""
BOTH_WAYS = (
    "It was trained with prompts whose tokens see one another in both directions. transformers "
    "runs it so only where it is told "
    "which tokens are the prompt's; without, as here, every token sees what comes before it."
)
"""Note on PaliGemma and its like."""


def is_causal(config: Any) -> bool:
    """Does the checkpoint say that it has a language-model head that generates? Without a word,
    assume so."""
    names = config.architectures or ["ForCausalLM"]
    return any(
        name.endswith(
            ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration", "ForVisionText2Text")
        )
        for name in names
    )


def model_class(config: Any, causal: bool) -> Any | None:
    """The class of transformers that reads models of this config; None where there is none.

    Args:
        config: the model's.
        causal: with a language-model head.
    """
    import transformers

    if not causal:
        return transformers.AutoModel
    names = [
        "AutoModelForImageTextToText",
        "AutoModelForMultimodalLM",
    ]  # the oldest transformers does not have the last
    names.insert(len(names) if config.model_type in WHOLE else 0, "AutoModelForCausalLM")
    classes = [found for name in names if (found := getattr(transformers, name, None)) is not None]
    own = "AutoModelForCausalLM" in (getattr(config, "auto_map", None) or {})
    return next(
        (
            c
            for c in classes
            if type(config) in c._model_mapping or (own and c is transformers.AutoModelForCausalLM)
        ),
        None,
    )


def as_decoder(config: Any) -> tuple[Any, tuple[str, ...]]:
    """The config as it is run, and what a reader of the record should know of it: without a padding
    token that the embedding does not have, for one.

    Where a text part may see in both directions but is not told where, one attention kernel lets
    all tokens see all others, and the same kernel with padding in the batch, or another one, lets
    them see what comes before: the same answer would have other states in another batch. It is a
    plain decoder here, everywhere.

    Raises:
        UsageError: an early transformers, in which no setting makes it one.
    """
    config = _decoder_layers(pad_inside(config))
    text = config.get_text_config(decoder=True)
    if (
        not is_causal(config)
        or text is config
        or getattr(text, "use_bidirectional_attention", None) is not True
    ):
        return config, ()
    if tuple(map(int, version("transformers").split(".")[:2])) < BOTH_WAYS_SINCE:
        raise UsageError(
            f"transformers {version('transformers')} masks the text of models of the type "
            f"{config.model_type!r} otherwise in a batch than alone. A newer one does not: pip "
            f"install -U 'transformers>={BOTH_WAYS_SINCE[0]}.{BOTH_WAYS_SINCE[1]}'"
        )
    config = copy.deepcopy(config)
    config.get_text_config(decoder=True).use_bidirectional_attention = False
    return config, (BOTH_WAYS,)


def _decoder_layers(config: Any) -> Any:
    """The config of a decoder whose architecture has an encoder too, with the decoder's number of
    blocks as the number of blocks.

    BART and its like take it from the encoder, which is not there: transformers' cache would have
    as many layers, and the last blocks none.
    """
    if not is_causal(config):
        return config
    for encoder, decoder in HALVES:
        n, counted = getattr(config, decoder, None), getattr(config, encoder, None)
        if isinstance(n, int) and counted not in (None, n) and config.num_hidden_layers == counted:
            config = copy.deepcopy(config)
            setattr(config, encoder, n)
    return config


def check_readable(found: Checkpoint, config: Any) -> None:
    """Complain about a model that has no decoder, or whose decoder does not stand alone.

    Raises:
        UsageError: with the reason.
    """
    kind, causal = config.model_type, is_causal(config)
    two = any("Conditional" in name for name in config.architectures or ())
    # a bare model of such a type would be read as its decoder, which nothing has gone into
    if getattr(config, "is_encoder_decoder", False) and (two or not causal):
        raise UsageError(
            f"The model {found.name!r} (type {kind!r}) has an encoder and a decoder, so question "
            "and answer are not one sequence. "
            f"Only decoders can be read, and encoders alone by statement tasks."
        )
    if model_class(config, causal) is None:
        raise UsageError(
            f"transformers {version('transformers')} has no class that generates text with models "
            f"of the type {kind!r}, so {found.name!r} cannot be read: only models that it loads as "
            "AutoModelForCausalLM or AutoModelForImageTextToText can."
        )


def skeleton(found: Checkpoint, config: Any, attention: str | None) -> Any:
    """The model without its weights.

    Args:
        found: its files.
        config: its config.
        attention: attention implementation; None leaves it to the model.

    Raises:
        UsageError: a model that cannot be read, with the reason, or an attention that it cannot
            have.
    """
    import torch

    check_readable(found, config)
    causal = is_causal(config)
    with found.reading(config=config.to_dict()), torch.device("meta"):
        try:
            model = model_class(config, causal).from_config(  # type: ignore[union-attr]  # checked above
                config, attn_implementation=attention, trust_remote_code=found.trusted
            )
        except (ValueError, ImportError) as error:
            if "trust_remote_code" in str(error) and not found.trusted:
                raise found.untrusted("its architecture") from None
            if attention is None:
                raise
            reason = " ".join(str(error).split())
            raise UsageError(
                f"--attn-implementation {attention!r} cannot be used with {found.name!r} here; "
                f"eager and sdpa mostly can. ({reason[:200]})"
            ) from None
    text = config.get_text_config(decoder=True) if causal else config
    if causal and text is not config:
        _check_alone(found, model)
    if not all(
        isinstance(getattr(text, name, None), int) for name in ("num_hidden_layers", "hidden_size")
    ):
        raise UsageError(
            f"The config of {found.name!r} (type {config.model_type!r}) does not say how many "
            "blocks its decoder has and how wide they are, so its hidden states cannot be read."
        )
    return model


def _check_alone(found: Checkpoint, model: Any) -> None:
    """Complain about a decoder that cannot do without pictures or sound: it is given a text without
    numbers."""
    import torch

    parameters = inspect.signature(model.generate).parameters
    ids = torch.zeros((1, 2), dtype=torch.long, device="meta")
    reason = next(
        (
            f"its generate() needs {n}."
            for n in OTHER_INPUTS
            if n in parameters and parameters[n].default is inspect.Parameter.empty
        ),
        "",
    )
    if model.config.model_type in OWN_GENERATE:
        reason = (
            "its generate() takes other ways than that of other models, and does not tell the "
            "scores of its tokens."
        )
    try:
        with torch.inference_mode():
            model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)
    except (TypeError, ValueError) as error:
        if any(name in str(error) for name in OTHER_INPUTS):
            reason = reason or " ".join(str(error).split())[:160]
    except Exception:  # what looks at its numbers cannot be tried without any; the run will say
        pass
    if reason:
        raise UsageError(
            f"The model {found.name!r} ({type(model).__name__}) does not read text alone: {reason}"
        )
