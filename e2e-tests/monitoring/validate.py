"""Checks the dashboard with the types of Grafana's foundation SDK: decoding and encoding lose nothing, and each value has its type.

usage: validate.py DASHBOARD.json…
"""

import enum
import json
import sys
import types
import typing

from grafana_foundation_sdk.cog import runtime, variants
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard, FieldConfig

# Keys of annotations that only a Prometheus data source knows. Grafana permits any, and its later types have these.
OF_PROMETHEUS = {"useValueForTime", "titleFormat", "textFormat", "tagKeys", "step"}


def lost(before: object, after: object, path: str) -> list[str]:
    """What decoding and encoding change. They may add defaults."""
    if isinstance(before, dict) and isinstance(after, dict):
        known = {key for key in before if key in after or not (".annotations." in path and key in OF_PROMETHEUS)}
        return [problem for key in known for problem in (
            lost(before[key], after[key], f"{path}.{key}") if key in after else [f"{path}.{key}: unknown field"])]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        return [problem for index, pair in enumerate(zip(before, after)) for problem in lost(*pair, f"{path}[{index}]")]
    return [] if before == after else [f"{path}: {before!r} became {after!r}"]


def plain(decoded: object) -> object:
    return json.loads(json.dumps(decoded, cls=JSONEncoder))


def has_type(value: object, hint: object) -> bool:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint in (object, typing.Any, variants.Dataquery):
        return True
    if origin in (typing.Union, types.UnionType):
        return any(has_type(value, each) for each in arguments)
    if origin is typing.Literal:
        return value in arguments
    if origin is list:
        return isinstance(value, list) and all(has_type(each, arguments[0]) for each in value)
    if origin is dict:
        return isinstance(value, dict) and all(has_type(each, arguments[1]) for each in value.values())
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return value in {each.value for each in hint}
    if isinstance(value, dict) and hasattr(hint, "from_json"):
        # The SDK leaves some lists of its objects undecoded.
        decoded = hint.from_json(value)
        return not lost(value, plain(decoded), "") and not mistyped(decoded, "")
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)


def mistyped(value: object, path: str) -> list[str]:
    """The fields of the SDK's objects whose values do not have the declared types."""
    if isinstance(value, dict):
        return [problem for key, each in value.items() for problem in mistyped(each, f"{path}.{key}")]
    if isinstance(value, list):
        return [problem for index, each in enumerate(value) for problem in mistyped(each, f"{path}[{index}]")]
    if not type(value).__module__.startswith("grafana_foundation_sdk.models") or isinstance(value, enum.Enum):
        return []
    problems = []
    for name, hint in typing.get_type_hints(type(value)).items():
        # Absent fields have the default None, whatever the type.
        field = getattr(value, name, None)
        if field is not None and not has_type(field, hint):
            problems.append(f"{path}.{name}: expected {hint}, found {field!r}")
        problems += mistyped(field, f"{path}.{name}")
    return problems


def of_overrides(document: dict[str, typing.Any], path: str) -> list[str]:
    """The properties of overrides are fields of the panel's configuration, but the SDK does not decode them."""
    found = []
    for panel in (each for row in document["panels"] for each in [row, *row.get("panels", [])]):
        for override in panel.get("fieldConfig", {}).get("overrides", []):
            for each in override["properties"]:
                name, value = each["id"], each["value"]
                if name.startswith("custom."):
                    field = {name.removeprefix("custom."): value}
                    decoded = runtime.panelcfg_field_config_from_json(field, panel["type"])
                else:
                    field = {name: value}
                    decoded = FieldConfig.from_json(field)
                where = f"{path}: panel {panel['title']}, override {override['matcher']['options']}"
                found += lost(field, plain(decoded), where) + mistyped(decoded, where)
    return found


def problems(file: str) -> list[str]:
    with open(file, encoding="utf-8") as text:
        document = json.load(text)
    decoded = Dashboard.from_json(document)
    return sorted(lost(document, plain(decoded), file) + mistyped(decoded, file) + of_overrides(document, file))


if __name__ == "__main__":
    register_default_plugins()
    found = [problem for file in sys.argv[1:] for problem in problems(file)]
    if found:
        sys.exit("\n".join(found))
