"""The model card, rendered from the figures of the run; nothing in it is typed in by hand."""

from __future__ import annotations

from typing import Any

from diplophrase.codebook import Codebook
from training.base import DEFAULT_BASE


def render_card(version: str, codebook: Codebook, metrics: dict[str, Any]) -> str:
    """Return the card of a bundle as Markdown."""
    measured = metrics.get("cross_validation")
    parts = [
        _head(version, metrics),
        _use(),
        _data(metrics),
        _agreement(metrics.get("agreement"), codebook),
        _fast(metrics),
        _figures(measured) if measured else _unmeasured(),
        _added(metrics.get("added"), measured),
        _reliability(metrics.get("reliability")),
        _operating_points(measured) if measured else "",
        _domain(metrics.get("domain")),
        _curve(metrics.get("learning_curve")),
        _mistakes(metrics.get("mistakes")),
        _run(metrics),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def percent(value: float) -> str:
    """Return a share as a percentage with one decimal and no sign."""
    return f"{100 * value:.1f}"


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table; the first column is text, the others are numbers."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, rule, *rows])


def _head(version: str, metrics: dict[str, Any]) -> str:
    measured = metrics.get("cross_validation")
    summary = (
        f"Macro-F1 {percent(measured['model']['macro']['f1'])} "
        f"(95% interval {_interval(measured['model']['intervals']['macro'])}), "
        f"micro-F1 {percent(measured['model']['micro']['f1'])}, cross-validated on "
        f"{measured['model']['texts']} hand-labelled sentences, measured on this bundle's int8 "
        f"form."
        if measured
        else "Quality not measured in this run."
    )
    return f"# diplophrase model `{version}`\n\n{summary}"


def _use() -> str:
    return """## Use

Intended: finding the set phrases of diplomatic statements in English, sentence by sentence, for
research, journalism and monitoring, with a person who checks what matters.

Not intended: deciding about people; reading intent or truth out of a statement; stance (support
and opposition get the same label); languages other than English; a single sentence as proof that
a position changed. Absence of a label is weaker evidence than its presence: see recall below."""


def _data(metrics: dict[str, Any]) -> str:
    data = metrics["data"]
    return f"""## Data

{data["seeds"]} sentences of five source documents (`seeds/`), {data["authored"]} authored
sentences that train but never evaluate, {data["added"]} added by users. Codebook
{data["codebook"]["version"]}, data hash `{data["hash"][:16]}`. How they were labelled, by which
rules and with which weaknesses: `labels/README.md`. The seeds are Chinese, Vietnamese and other
Asian state media and one sympathetic blog: figures measured on them speak for that genre."""


def _agreement(agreement: dict[str, Any] | None, codebook: Codebook) -> str:
    if not agreement:
        return ""
    rows = [
        [label, str(row["first"]), str(row["second"]), _kappa(row["kappa"])]
        for label in codebook.ids
        for row in [agreement["labels"][label]]
    ]
    return f"""## Agreement of the two labelling passes

Over all decisions: Cohen's kappa {agreement["kappa"]:.3f}, Krippendorff's alpha
{agreement["alpha"]:.3f}; same label set {percent(agreement["exact_label_set"])}% of
{agreement["sentences"]} sentences; speaker {percent(agreement["speaker"])}%; word F1 of evidence
spans {percent(agreement["evidence_f1"])}.

{table(["label", "pass A", "pass B", "kappa"], rows)}"""


def _kappa(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _interval(bounds: list[float]) -> str:
    return f"{percent(bounds[0])} to {percent(bounds[1])}"


def figures_table(measured: dict[str, Any]) -> str:
    """Return the one table of the run: model beside lexicon and TF-IDF, per label measured."""
    model, baselines = measured["model"], measured["baselines"]
    rows = []
    for label, row in model["labels"].items():
        rows.append(
            [
                label,
                str(row["support"]),
                percent(row["precision"]),
                percent(row["recall"]),
                percent(row["f1"]),
                _interval(model["intervals"][label]),
                *[percent(baselines[name]["labels"][label]["f1"]) for name in baselines],
            ]
        )
    for kind in ("micro", "macro"):
        rows.append(
            [
                f"**{kind}**",
                "",
                *[percent(model[kind][figure]) for figure in ("precision", "recall", "f1")],
                _interval(model["intervals"][kind]),
                *[percent(baselines[name][kind]["f1"]) for name in baselines],
            ]
        )
    head = ["label", "support", "precision", "recall", "F1", "95% interval"]
    return table([*head, *[f"{name} F1" for name in baselines]], rows)


def summary_lines(figures: dict[str, Any]) -> str:
    """Return the figures of an evaluation that stand beside its table, as Markdown bullets."""
    model = figures["model"]
    leads = [
        f"- lead in macro-F1 over {name}: {100 * row['lead']:+.1f} "
        f"({100 * row['interval'][0]:+.1f} to {100 * row['interval'][1]:+.1f})"
        for name, row in figures["macro_difference"].items()
    ]
    attributes = [
        f"- {name}: {percent(row['accuracy'])}% of {row['support']} right"
        for name, row in figures["attributes"].items()
    ]
    lines = [
        f"- {model['texts']} sentences; macro over {model['macro_labels']} labels with enough "
        f"positives; samples-F1 {percent(model['samples_f1'])}, exact label set "
        f"{percent(model['exact_match'])}%",
        *leads,
        f"- expected calibration error {figures['calibration_error']:.3f}",
        f"- evidence word F1 {percent(figures['evidence_f1']['model'])}, the lexicon's "
        f"{percent(figures['evidence_f1']['lexicon'])}",
        f"- flagged as out of domain {percent(figures['out_of_domain'])}%",
        f"- speaker {percent(figures['speaker_accuracy'])}% right",
        *attributes,
    ]
    return "\n".join(lines)


_RIVALS = {
    "tfidf": "TF-IDF with logistic regression",
    "lexicon": "a keyword lexicon (`training/lexicon.yaml`)",
    "rules": "a set of 365 hand-made rules (`training/rules.yaml`)",
}


def _figures(measured: dict[str, Any]) -> str:
    rivals = "; ".join(_RIVALS[name] for name in measured["baselines"])
    attributes = ", ".join(
        f"{name} {percent(row['accuracy'])}% of {row['support']}"
        for name, row in measured["attributes"].items()
    )
    return f"""## Cross-validated figures

{len(measured["folds"])} folds ({", ".join(map(str, measured["folds"]))} sentences); an event, its
digest, reprints and near-duplicates stay in one fold; calibration and thresholds of a fold are
fitted on the others. Beside the model, on the same sentences: {rivals}. Lexicon and rules were
written from the codebook without sight of labelled sentences. In percent.

{figures_table(measured)}

![F1 of each label with its 95% interval, the lexicon's beside it](labels.svg)

Exact label set {percent(measured["model"]["exact_match"])}%; samples-F1
{percent(measured["model"]["samples_f1"])}; expected calibration error
{measured["calibration_error"]:.3f}.{_quantisation(measured)}

Evidence: word F1 against the hand-marked spans {percent(measured["evidence_f1"]["model"])} (the
lexicon's spans: {percent(measured["evidence_f1"]["lexicon"])}). Speaker:
{percent(measured["speaker_accuracy"])}% right. Attributes, exactly right where their label is
given by hand (their rules were written with these sentences in view): {attributes}."""


def _quantisation(measured: dict[str, Any]) -> str:
    if "float32_macro_f1" not in measured:
        return ""
    return (
        f" Float32 macro-F1 {percent(measured['float32_macro_f1'])};\nint8 and float32 agree on "
        f"{100 * measured['int8_agrees_with_float32']:.2f}% of decisions."
    )


def _fast(metrics: dict[str, Any]) -> str:
    parent = metrics["run"].get("parent")
    if parent is None:
        return ""
    return f"""## A fast version

Made from `{parent}`: its encoder is frozen and only the heads were trained. That encoder has seen
the seeds, those of each fold included, so **the figures below flatter**, and do not compare with
the figures of a full training. `diplophrase models compare` holds this version against others on
the same encoder; against all others, a test file of sentences that neither has seen (`--data`).
What tells texts from outside the domain is the parent's; it takes {metrics["added_out_of_domain"]}
of the {metrics["data"]["added"]} added sentences for such, which a full training would mend."""


def _added(added: dict[str, Any] | None, seeds: dict[str, Any] | None) -> str:
    if added is None or seeds is None:
        return ""
    doubts = [
        f"`{label}`, which sentences labelled before it do not tell of, was given to "
        f"{row['given']} of {row['sentences']} seed sentences that are presumed not to have it."
        for label, row in seeds.get("presumed", {}).items()
    ]
    return "\n\n".join(
        [
            "## The added sentences",
            f"{added['model']['texts']} sentences added by users, out of fold as above, one "
            f"document and near-duplicates in one fold. They were picked, often as they are hard, "
            f"so the figures are no estimate for texts at large.",
            figures_table(added),
            *doubts,
        ]
    )


def _unmeasured() -> str:
    return """## Figures

Not measured: the run had no cross-validation. Scores are not calibrated and every threshold is
0.5. Run `diplophrase train` without `--folds 0` before trusting this bundle."""


def _reliability(bins: list[dict[str, float]] | None) -> str:
    if not bins:
        return ""
    rows = [
        [
            f"{row['from']:.1f} to {row['from'] + 0.1:.1f}",
            str(row["decisions"]),
            f"{row['mean_score']:.3f}",
            f"{row['frequency']:.3f}",
        ]
        for row in bins
    ]
    return f"""## Reliability

Scores against how often the label was right, all labels pooled, out of fold.

![Share that is right against mean score](reliability.svg)

{table(["score", "decisions", "mean score", "frequency"], rows)}"""


def _operating_points(measured: dict[str, Any]) -> str:
    points = measured.get("operating_points")
    if not points:
        return ""
    rows = [[percent(row[name]) for name in ("asked", "precision", "recall")] for row in points]
    return f"""## Operating points

A request may ask for a precision instead of the balance above. What came out, all labels pooled,
with score thresholds fitted on the other folds:

{table(["precision asked", "precision", "recall"], rows)}"""


def _domain(figures: dict[str, Any] | None) -> str:
    if not figures:
        return ""
    rows = [[kind, percent(share)] for kind, share in figures["found_by_kind"].items()]
    return f"""## Texts from outside the domain

A logistic regression on the sentence embedding flags texts unlike any the model was made for
(`out_of_domain`); they get no label. It is fitted on the hand-labelled sentences against
`labels/out_of_domain.jsonl`. Out of fold, with the kind of text held out too, it flags
{percent(figures["found"])}% of the foreign texts and {percent(figures["false_alarms"])}% of the
seed sentences (the threshold was set on these). Share flagged, by held-out kind:

{table(["kind", "flagged"], rows)}"""


def _curve(curve: list[dict[str, Any]] | None) -> str:
    if not curve:
        return ""
    rows = [
        [str(row["authored"]), percent(row["macro_f1"]), percent(row["micro_f1"])] for row in curve
    ]
    return f"""## Learning curve

F1 on the seeds of the first two folds, by the number of authored sentences in training beside the
other seeds; macro over the {curve[0]["labels"]} labels with five positives or more there.

![F1 against the number of authored sentences](learning_curve.svg)

{table(["authored", "macro-F1", "micro-F1"], rows)}"""


def _mistakes(mistakes: dict[str, Any] | None) -> str:
    if not mistakes:
        return ""
    lines = [
        f"- `{item['label']}` {item['kind']} (score {item['score']:.2f}, {item['id']}): "
        f"“{_shorten(item['text'])}” {item['lesson']}"
        for item in mistakes["instructive"]
    ]
    listed = "\n".join(lines) if lines else "None of them has been explained yet."
    return f"""## Where it fails

{mistakes["count"]} wrong decisions out of fold; all are in `metrics.json`. The most instructive:

{listed}"""


def _shorten(text: str, limit: int = 220) -> str:
    return text if len(text) <= limit else text[:limit].rsplit(" ", 1)[0] + " …"


def _run(metrics: dict[str, Any]) -> str:
    run, export = metrics["run"], metrics["export"]
    seed, epochs = run["seed"], run["config"]["epochs"]
    base = "" if run["config"]["base"] == DEFAULT_BASE else " with the same `--base`"
    fast = f"--fast --from {run['parent']} " if "parent" in run else ""
    curve = " --curve" if "learning_curve" in metrics else ""
    quantised = (
        f"; int8 against float32:\n{100 * export['int8_label_agreement']:.2f}% of label decisions"
        if "int8_label_agreement" in export
        else ""
    )
    libraries = ", ".join(f"{name} {version}" for name, version in run["libraries"].items())
    return f"""## Run

Base checkpoint {run["config"]["base"]}, seed {seed}, {_passes(metrics)}, commit
`{run["git_commit"][:12]}`. ONNX against torch:
{export["onnx_gap"]:.1e} in probability{quantised}. {libraries}.

Reproduce: `diplophrase train {fast}--seed {seed} --epochs {epochs}{curve}`{base}."""


def _passes(metrics: dict[str, Any]) -> str:
    config = metrics["run"]["config"]
    if "seed_epochs" not in config:
        return f"{config['epochs']} epochs"
    if not metrics["data"]["authored"]:
        return f"{config['epochs'] + config['seed_epochs']} epochs"
    return (
        f"{config['epochs']} epochs of the authored sentences,\nthen {config['seed_epochs']} of "
        f"the others with {min(config['replay'], metrics['data']['authored'])} authored ones each"
    )
