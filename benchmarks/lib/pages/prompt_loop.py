"""Page about what rewriting a prompt in a loop is worth."""

from .page import INTERVALS, NAMES, Page, Record, Table, estimate, points

COLUMNS = ("what is finished", "true reward of the image", "the loop's gain over it")


def loop_table(record: Record) -> Table:
    """Return a row for each method."""
    rows = [
        [
            row["method"],
            estimate(row["reward"], row["ci"], 3),
            "" if index == 0 else estimate(row["loop_over_it"], row["loop_over_it_ci"], 3, sign=True),
        ]
        for index, row in enumerate(record["rows"])
    ]
    return Table(COLUMNS, rows)


def loop_reading(record: Record) -> list[str]:
    """Return for each method whether the loop's image is better than its, worse, or neither was shown."""
    sentences = []
    for row in record["rows"][1:]:
        low, high = row["loop_over_it_ci"]
        verdict = "better than that of" if low > 0 else "worse than that of" if high < 0 else "not shown to differ from"
        sentences.append(f"The loop's image is {verdict} *{row['method']}*.")
    return sentences


def loop_method(record: Record) -> list[str]:
    """Return how it was measured."""
    return [
        f"{record['scenes']} held-out scenes of three objects on the testbed {NAMES[record['model']]}. A wording says "
        "all of a scene or a part of it: each size and relation can be left out, and the relations can change their "
        f"order. The loop looks at {record['seeds']} seeds of a wording after {record['cut']} of {record['steps']} "
        "steps, by previews and the ground truth of the scene as written. While the mean of the best wording is below "
        f"{points(record['threshold'], 1)}, it changes one thing, drawn at random, in the best wording so far, "
        f"{record['rounds']} times at most. It tried {points(record['tried'], 1)} wordings on average. The best seed "
        "of the best wording is finished.",
        "At equal cost, scene by scene: *random wordings* are as many wordings drawn at random, with the same seeds "
        "and chosen by the same scores; *more seeds* are as many looks at the prompt as written. *One image* costs "
        f"less. {INTERVALS}",
    ]


LOOP = Page(
    name="prompt-loop",
    question="Is it worth it to rewrite a prompt while its seeds score low?",
    files={"loop": "prompt_loop_flux"},
    method=lambda results: loop_method(results["loop"]),
    tables=lambda results: [loop_table(results["loop"])],
    reading=lambda results: loop_reading(results["loop"]),
    limits=lambda results: [
        f"With {results['loop']['scenes']} scenes only large differences can be shown.",
        'A wording that leaves out the second relation has "and" twice, which no prompt of the training has.',
        "The testbed's prompts say exactly what is scored, so a wording that says less can hardly be better. A text "
        "model that rewrites prompts of a real model by what it knows of them has not been measured.",
    ],
)

PAGES = (LOOP,)
