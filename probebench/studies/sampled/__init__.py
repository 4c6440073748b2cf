"""What several drawn answers to each question say beside the greedy one."""
