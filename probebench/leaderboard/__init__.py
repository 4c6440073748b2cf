"""Submissions to the leaderboard: written, read strictly as data, recomputed, ranked, shown."""
