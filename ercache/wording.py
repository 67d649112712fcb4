"""Words for the user: counts with their nouns, names of tasks."""


def count_noun(number: int, thing: str, things: str = "") -> str:
    """Write a number with its noun in singular or plural: `1 finding`, `2 findings`.

    Args:
        thing: the noun in singular.
        things: the noun in plural; by default `thing` with an s.
    """
    return f"{number} {thing if number == 1 else things or f'{thing}s'}"


def task_label(task: str, target: str) -> str:
    """Name of a task for tables: `erc`, `epc`, or `epc of the same speaker` if `epc` predicts that speaker's emotion.

    The two variants of `epc` get different names, because their scores cannot be compared.
    """
    return task if target == "next_utterance" else f"{task} of the same speaker"
