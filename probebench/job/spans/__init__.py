"""The job on a task whose labels are inside answers: checked, computed, written."""
