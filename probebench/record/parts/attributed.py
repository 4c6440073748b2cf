"""Parts of the record that hold whether attribution ranks components as replacing them does."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from probebench.record.parts.part import Count, Ends, Items, Part, Share, fewer

Correlation = Annotated[float, Field(ge=-1, le=1)]


class AttributionAgreement(Part):
    """Estimated beside measured changes of one target, on the same answers."""

    target: Literal["logprob", "probe"]
    spearman: Correlation | None
    """Rank correlation over components and layers of mean absolute changes."""
    spearman_95: Ends
    """Answers drawn with replacement."""
    n: Count
    """Answers for which components were replaced."""
    n_components: Count
    """Pairs of component and layer from which something reaches the target."""
    ranks: bool
    """Is the rank correlation at least `bar`? Where it is not, the map does not draw estimates."""


class AttributionFacts(Part):
    """How attribution was estimated, and what replacing components says of it."""

    n_means: Count
    """Test answers that a component's mean is over."""
    bar: Share
    """Rank correlation from which estimates count as ranking components."""
    agreement: Annotated[Items[AttributionAgreement], fewer(3)]
    """One row per target that some of the answers have."""
