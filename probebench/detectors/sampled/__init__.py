"""Methods of the field that read several drawn answers to each question."""
