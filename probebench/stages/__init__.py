"""Stages: from a plan to labelled answers, hidden states and probes, each saved shard by shard and
found again by content."""
