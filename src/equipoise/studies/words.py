"""What a study's report says in words."""

import itertools
import json
import math
from collections.abc import Sequence

from equipoise.studies.plan import arm_names
from equipoise.studies.results import LEVEL, Pair, Results
from equipoise.views.report import STYLE

MANY = 12  # pairs from which on a sentence for each is too much to read


def opening(results: Results) -> str:
    """What is compared, on what."""
    arms, plan = results.arms, results.plan
    names = arm_names(arms) if len(arms) <= 6 else f"{len(arms)} arms"
    return (
        f"{names} on {', '.join(plan.data)}: {plan.budget}, {len(plan.seeds)} seed{'s' if len(plan.seeds) > 1 else ''}"
    )


def pair_sentences(results: Results, pairs: Sequence[Pair]) -> list[str]:
    """What is significant first, then what is not; and where nothing could be, why."""
    done, wanted = sum(trial.name in results.outcomes for trial in results.trials), len(results.trials)
    sentences = [f"{done} of {wanted} trials have an outcome, so all of this may change"] if done < wanted else []
    if len(results.arms) == 1:
        return [*sentences, "there is one arm, and nothing to compare it with"]
    if not pairs:
        return [*sentences, "there are too few outcomes to compare arms: two seeds of each at least"]
    sentences += _comparisons(results.metric, pairs)
    if (least := least_p_value(results) * len(pairs)) > LEVEL:
        corrected = f" after Holm's correction for {len(pairs)} comparisons" if len(pairs) > 1 else ""
        sentences.append(
            f"with so few seeds no difference can be significant: even if every trial of one arm were better, p would "
            f"be {min(1.0, least):.2g}{corrected}; add seeds"
        )
    return sentences


def _comparisons(metric: str, pairs: Sequence[Pair]) -> list[str]:
    """A sentence for each pair; of many, those that an arm wins by every trial are one sentence of that arm."""
    pairs = sorted(pairs, key=lambda pair: pair.corrected)
    clear = [pair for pair in pairs if not pair.significant and pair.probability.value in (0, 1)]
    if len(pairs) <= MANY:
        clear = []
    won: dict[str, list[str]] = {}
    for pair in clear:
        better, worse = (pair.first, pair.second) if pair.probability.value else (pair.second, pair.first)
        won.setdefault(better, []).append(worse)
    return [
        *(pair.sentence(metric) for pair in pairs if pair not in clear),
        *(
            f"every trial of {better} is better in {metric} than each of {', '.join(worse)}, which with so few trials "
            "may be chance"
            for better, worse in won.items()
        ),
    ]


def least_p_value(results: Results) -> float:
    """The p-value of an arm whose every trial is better than every one of another: that of the two with most seeds."""
    scores = [results.scores(arm) for arm in results.comparable]
    pairs = [zip(x, y, strict=True) for x, y in itertools.combinations(scores, 2)]
    ways = [math.prod(math.comb(len(a) + len(b), len(a)) for a, b in pair) for pair in pairs]
    return 2 / max(ways, default=2)


def cost_words(results: Results) -> str:
    """What the columns of the table are."""
    several = len(results.plan.data) > 1
    unit = " Each score is divided by the median of all arms' scores on its data set first." if several else ""
    return (
        f"Scores are interquartile means of {results.metric} with 95 % stratified bootstrap intervals; of a failed "
        "trial the score is infinitely bad. Best is the checkpoint that had the best KID while training."
        f"{unit} Cost is a trial's, at the median, scoring included; seconds are of a processor core, without "
        "those in which it did other work; trials that share one by hyper-threading take up to twice as many."
    )


def protocol_lines(results: Results) -> list[str]:
    """By which protocol all was trained and scored."""
    plan = results.plan
    lines = [
        f"budget: {plan.budget} for every trial"
        + (
            ", measured by some steps of all arms in turn; all seeds of one train for as many images"
            if plan.budget.seconds
            else ""
        ),
        f"each trial runs with {plan.threads} processor thread{'s' if plan.threads > 1 else ''}",
        f"a score is the mean over {plan.draws} draws of {plan.count:,} samples of the averaged generator, "
        "beside " + ("test images that nothing was trained or chosen by" if plan.test else "held-out images"),
        f"intervals: 95 %, stratified bootstrap by data set, percentiles, 50,000 repetitions (arXiv:2108.13264); "
        "p-values: two-sided permutation test of Mann and Whitney's statistic, Holm's correction, "
        f"significant at {LEVEL:g}",
        *(
            "trained with " + ", ".join(f"{name} {number}" for name, number in made_with.items())
            for made_with in results.made_with
            if made_with
        ),
    ]
    seen = {}
    for trial in results.trials:
        outcome = results.outcomes.get(trial.name)
        if outcome and outcome.protocol and trial.data not in seen:
            seen[trial.data] = json.dumps(outcome.protocol, sort_keys=True)
    return lines + [f"{data}: {text}" for data, text in seen.items()]


def report_style() -> str:
    """The style of a run's report, with tables and figures."""
    return STYLE.replace("max-width: 900px", "max-width: 1000px") + MORE


MORE = """
table { border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums }
th { text-align: left; color: var(--faint); font-weight: 500 }
th, td { padding: .35rem .6rem; border-bottom: 1px solid var(--line) }
td:first-child { font-weight: 600 } .findings li { border-left-color: #0072b2 } ul { padding: 0; list-style: none }
.figure { width: 100% } .samples { image-rendering: pixelated } h3 { font-size: 1rem }
@media (prefers-color-scheme: dark) { .figure { filter: invert(0.92) hue-rotate(180deg); mix-blend-mode: lighten } }
"""
