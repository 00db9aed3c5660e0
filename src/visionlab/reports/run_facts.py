"""The parts of a run's page that say what was run: settings, model, data, environment."""

from collections.abc import Mapping

from visionlab.reports.numbers import MISSING
from visionlab.reports.page import Html, code, details, note, pairs, table
from visionlab.reports.reading import Reading


def settings(run: Reading) -> list[Html]:
    """The command, what differs from the defaults, and the whole config."""
    result, parts = run.result, []
    if result.get("command"):
        parts.append(code(str(result["command"])))
    overrides = [str(text).partition("=") for text in result.get("overrides") or []]
    if overrides:
        parts.append(note("What differs from the defaults:"))
        parts.append(pairs({key: value or MISSING for key, _, value in overrides}))
    elif result:
        parts.append(note("Nothing differs from the defaults."))
    if run.config:
        import yaml

        text = yaml.safe_dump(run.config, sort_keys=False, allow_unicode=True)
        parts.append(details("The whole config", code(text)))
    return parts


def model(run: Reading) -> list[Html]:
    """The model and its layers."""
    about = run.result.get("model") or {}
    words = {
        k.replace("_", " "): v for k, v in about.items() if k not in {"parameters", "trainable_parameters", "flops"}
    }
    parts = [pairs(words)] if about else []
    if run.layers:
        names = list(run.layers[0])
        numeric = {name for name in names if all(row[name].isdigit() for row in run.layers)}
        total = {"layer": "total", "parameters": about.get("parameters"), "flops": about.get("flops")}
        total["trainable"] = about.get("trainable_parameters")
        layers = table(
            [name.replace("_", " ") for name in names],
            [[int(row[name]) if name in numeric else row[name] for name in names] for row in run.layers],
            foot=[[total.get(name, Html("")) for name in names]],
            sort=False,
            tall=len(run.layers) > 18,
            ident="layers",
        )
        parts.append(layers)
    if run.model_text:
        parts.append(details("As text, with memory", code(run.model_text)))
    return parts


def data(run: Reading) -> list[Html]:
    """The data, the split and the classes."""
    about = dict(run.result.get("data") or {})
    names, counts = about.pop("classes", None), about.pop("class_counts", None)
    if not about:
        return []
    if about.get("image_size"):
        about["image_size"] = " × ".join(map(str, about["image_size"])) + " px"  # noqa: RUF001 (a multiplication sign)
    words = {key.replace("_", " "): value for key, value in about.items()}
    if not isinstance(names, list):
        return [pairs(words)]
    known = isinstance(counts, list) and len(counts) == len(names)
    heads, rows = ["class"], [[name] for name in names]
    if known:
        heads, rows = ["class", "training images"], [[name, n] for name, n in zip(names, counts or [], strict=True)]
    each = table(heads, rows, tall=len(names) > 15, ident="class-names")
    return [pairs({"classes": len(names), **words}), details("The classes", each)]


def environment(run: Reading) -> list[Html]:
    """Where the run was computed, and by which versions."""
    flat: dict[str, object] = {}
    for key, value in (run.result.get("environment") or {}).items():
        if isinstance(value, Mapping):  # the versions of libraries, the digests of files
            flat |= value
        else:
            flat[str(key).replace("_", " ")] = value
    return [pairs(flat)] if flat else []
