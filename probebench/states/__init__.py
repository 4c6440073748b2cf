"""Hidden states: named positions, extraction, storage, and exchange with other tools."""
