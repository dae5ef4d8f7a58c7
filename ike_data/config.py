"""config.ini: every key with its type, range and default; reading and checking it."""

from __future__ import annotations

import configparser
import dataclasses
import difflib
import math
import os
import re
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ike_data.parameters import Range
from ike_data.runtime.errors import InputError

MAX_EPOCHS = 1_000_000
MAX_ITERS = 1000
MAX_BASE_CHANNELS = 512
LEAST_MAX_SIDE, MOST_MAX_SIDE = 64, 65536  # pixels


def _key(
    kind: str,
    default: Any = dataclasses.MISSING,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    low_excluded: bool = False,
    or_zero: bool = False,
    choices: tuple[str, ...] = (),
    name: str | None = None,
    aliases: tuple[str, ...] = (),
) -> Any:
    """A dataclass field that is a key of config.ini.

    ``kind`` is int, float, bool, choice, ints, path or paths. A key without ``default`` must be
    in the file; ``name`` is the key's name there where it is not the field's. ``or_zero`` allows 0
    below ``low``. ``aliases`` are older names of the key, under which it is read as well.
    """
    metadata = dict(
        **dict(kind=kind, range=Range(low, high, low_excluded), or_zero=or_zero),
        **dict(choices=choices, name=name, aliases=aliases),
    )
    return field(default=default, metadata=metadata, kw_only=True)


@dataclass(frozen=True)
class General:
    """[General]: what all commands share."""

    working_h: int = _key("int", low=8, high=8192)  # pixels
    working_w: int = _key("int", low=8, high=8192)  # pixels
    device: str = _key("choice", "auto", choices=("auto", "cpu", "cuda"))


@dataclass(frozen=True)
class Paths:
    """[PATHS]: filled in from the command line; None where nothing was given."""

    frames_path: Path | None = _key("path", None, name="FRAMES_PATH")
    fwd_of_path: Path | None = _key("path", None, name="FWD_OF_PATH")
    bwd_of_path: Path | None = _key("path", None, name="BWD_OF_PATH")
    out_path: Path | None = _key("path", None, name="OUT_PATH")
    pseudo_gt_path: Path | None = _key("path", None, name="PSEUDO_GT_PATH")


@dataclass(frozen=True)
class OpticalFlow:
    """[Optical Flow]: the flags of extract_optical_flow.py, so that its result can be repeated."""

    method: str = _key("choice", "raft", choices=("raft", "dis"))
    models: Path | None = _key("path", None)  # None: torchvision's published weights
    small: bool = _key("bool", False)
    mixed_precision: bool = _key("bool", False)
    iters: int = _key("int", 20, low=1, high=MAX_ITERS)
    # 0: no limit
    max_side: int = _key("int", 0, low=LEAST_MAX_SIDE, high=MOST_MAX_SIDE, or_zero=True)


@dataclass(frozen=True)
class GraphModule:
    """[Graph Module]; docs/method.md section 3."""

    seed_type: int = _key("int", low=0, high=2)
    seed_type_sigma_percent: float = _key("float", low=0, low_excluded=True, high=1000)
    ike_features_paths: tuple[Path, ...] = _key("paths", ())
    sigma: float = _key("float", low=0, low_excluded=True)  # frames
    half_window: int = _key("int", 15, low=0, high=10_000)  # frames
    n_iterations: int = _key("int", low=1, high=100_000)
    to_save_iterations: tuple[int, ...] | None = _key("ints", low=-1)  # None: all
    dir_features_half_chain_size: int = _key("int", low=-1, high=10_000)  # frames
    features_half_chain_size: int = _key("int", low=-1, high=10_000)  # frames
    # Below, rounding of a Gram matrix of equal features can exceed lambda.
    ridge: float = _key("float", low=1e-6, high=1e12, name="lambda")
    tolerance: float = _key("float", 0.0, low=0, high=1)
    propagation: str = _key("choice", "exact", choices=("exact", "fast"))
    engine: str = _key("choice", "auto", choices=("auto", "torch"))
    links_memory: float = _key("float", 4.0, low=0)  # GB
    # Not the paper's; a file without them gives the paper's method.
    motion_saliency: bool = _key("bool", False)
    motion_prior: bool = _key("bool", False)
    degree_normalisation: bool = _key("bool", False, aliases=("even_links",))
    bootstrap_passes: int = _key("int", 0, low=0, high=100, aliases=("appearance_passes",))
    refinement: bool = _key("bool", False)
    coarse_graph: bool = _key("bool", False)  # where refinement is on


@dataclass(frozen=True)
class NetworkModule:
    """[Network Module]; docs/method.md section 4."""

    n_epochs: int = _key("int", low=1, high=MAX_EPOCHS)
    batch_size: int = _key("int", low=1, high=100_000)
    learning_rate: float = _key("float", low=0, low_excluded=True, high=1e30)
    to_save_epochs: tuple[int, ...] | None = _key("ints", low=1)  # None: all
    base_channels: int = _key("int", 64, low=1, high=MAX_BASE_CHANNELS)
    pretrained_encoder: Path | None = _key("path", None)
    seed: int = _key("int", 0, low=0, high=2**63 - 1)
    mixed_precision: str = _key("choice", "auto", choices=("auto", "yes", "no"))
    deterministic: bool = _key("bool", True)
    # Not the paper's; a file without them gives the paper's method.
    passes_per_epoch: int = _key("int", 1, low=0, high=1_000_000)  # 0: see config.ini
    cosine_decay: bool = _key("bool", False)
    confidence_weights: bool = _key("bool", False)
    flips: bool = _key("bool", False)
    prior_bias: bool = _key("bool", False)
    half_size_share: float = _key("float", 0.0, low=0, high=1)
    frame_agreement: bool = _key("bool", False)  # where half_size_share is used
    along_edges: bool = _key("bool", False)
    colour_jitter: float = _key("float", 0.0, low=0, high=0.99, aliases=("light",))


SECTIONS: dict[str, type] = {
    "General": General,
    "PATHS": Paths,
    "Optical Flow": OpticalFlow,
    "Graph Module": GraphModule,
    "Network Module": NetworkModule,
}
# Keys that only earlier versions had. A file may still have them with these values, which mean off.
_GONE: dict[str, dict[str, dataclasses.Field[Any]]] = {
    "Network Module": {"soft_labels": _key("bool", False), "weight_average": _key("float", 0.0)},
}
# Sections whose keys all have defaults may be left out.
_OPTIONAL_SECTIONS = ("PATHS", "Optical Flow")


@dataclass(frozen=True)
class Config:
    """The sections of one config.ini."""

    general: General
    paths: Paths
    optical_flow: OpticalFlow
    graph_module: GraphModule
    network_module: NetworkModule


def read_config(path: Path) -> Config:
    """Read and check a config.ini, all of it: the three commands share one file.

    Relative paths in it are relative to the file's own folder.

    A line on stderr names keys of earlier versions that the file still has, switched off.

    Raises:
        InputError: the file is missing or not an ini file, a section or key is missing or unknown
            (the nearest known name is suggested), a value is of the wrong type or out of range, or
            a key that is gone is on.
    """
    raw = read_ini(path)
    for section in raw:
        if section not in SECTIONS:
            raise InputError(
                f"{path}: unknown section [{section}]{_suggestion(section, list(SECTIONS))}"
            )
    for section in SECTIONS:
        if section not in raw and section not in _OPTIONAL_SECTIONS:
            raise InputError(
                f"{path}: section [{section}] is missing; copy it from the project's config.ini"
            )
    config = Config(
        *(
            _parse_section(
                path, section, section_type, _without_gone(path, section, raw.get(section, {}))
            )
            for section, section_type in SECTIONS.items()
        )
    )
    _check_across_keys(path, config)
    return config


def read_ini(path: Path) -> dict[str, dict[str, str]]:
    """The text of each key in each section, with its comments; InputError as `read_config`."""
    parser = configparser.ConfigParser(
        interpolation=None, comment_prefixes=(";", "#"), default_section="\0 no default section"
    )
    parser.optionxform = str  # type: ignore[method-assign,assignment]  # keep upper case
    try:
        with path.open(encoding="utf-8-sig") as file:  # some editors put a mark in front
            parser.read_file(file)
    except FileNotFoundError as error:
        raise InputError(
            f"{path}: no such file; give the project's config.ini or a copy of it with --config"
        ) from error
    except IsADirectoryError as error:
        raise InputError(f"{path}: is a folder; give the config.ini in it") from error
    except configparser.DuplicateSectionError as error:
        raise InputError(
            f"{path}: section [{error.section}] stands twice (line {error.lineno}); make it one"
        ) from error
    except configparser.DuplicateOptionError as error:
        raise InputError(
            f"{path}: key {error.option} stands twice in [{error.section}] "
            f"(line {error.lineno}); keep one"
        ) from error
    except (configparser.Error, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: is not a valid ini file ({' '.join(str(error).split())}); write it in UTF-8 "
            "as [section] lines with key = value lines below"
        ) from error
    return {section: dict(parser[section]) for section in parser.sections()}


def _suggestion(name: str, known: list[str]) -> str:
    folded = {candidate.lower(): candidate for candidate in known}
    near = difflib.get_close_matches(name.lower(), list(folded), n=1)
    return f"; did you mean {folded[near[0]]}?" if near else f"; known are: {', '.join(known)}"


def _ini_name(key: dataclasses.Field[Any]) -> str:
    return key.metadata["name"] or key.name


def _without_gone(path: Path, section: str, raw: Mapping[str, str]) -> dict[str, str]:
    gone = {name: key for name in raw if (key := _GONE.get(section, {}).get(name.lower()))}
    for name, key in gone.items():
        try:
            is_off = _parse_value(raw[name].strip(), key.metadata, path.parent) == key.default
        except ValueError:
            is_off = False
        if not is_off:
            raise InputError(
                f"{path}: key {name} in [{section}] is gone, for it did not make the masks better; "
                "delete its line (a result that was made with it needs the earlier version)"
            )
    if gone:
        print(
            f"{path}: {' and '.join(gone)} in [{section}]: no longer used; delete the line"
            f"{'s' if len(gone) > 1 else ''}",
            file=sys.stderr,
        )
    return {name: text for name, text in raw.items() if name not in gone}


def _parse_section(path: Path, section: str, section_type: type, raw: Mapping[str, str]) -> Any:
    keys = {_ini_name(key): key for key in dataclasses.fields(section_type)}
    values: dict[str, Any] = {}
    for known, name in _names_in_file(path, section, keys, raw).items():
        key, text = keys[known], raw[name]
        try:
            values[key.name] = _parse_value(text.strip(), key.metadata, path.parent)
        except ValueError as error:
            shown = " ".join(text.split())  # an indented next line counts as part of the value
            raise InputError(f"{path}: [{section}] {name} = {shown}: {error}") from error
    for known, key in keys.items():
        if key.name not in values and key.default is dataclasses.MISSING:
            raise InputError(
                f"{path}: key {known} is missing in [{section}]; "
                "copy its line from the project's config.ini"
            )
    return section_type(**values)


def _names_in_file(
    path: Path, section: str, keys: Mapping[str, dataclasses.Field[Any]], raw: Mapping[str, str]
) -> dict[str, str]:
    """Of each key that the file has, the name that it has there: in another case, or an older one.

    Raises:
        InputError: a name is unknown, or a key stands twice.
    """
    # Keys are compared without regard to case, as configparser does by default.
    known_as = {
        name.lower(): known
        for known, key in keys.items()
        for name in (known, *key.metadata["aliases"])
    }
    found: dict[str, str] = {}
    for name in raw:
        known = known_as.get(name.lower())
        if known is None:
            raise InputError(
                f"{path}: unknown key {name} in [{section}]{_suggestion(name, list(keys))}"
            )
        first = found.setdefault(known, name)
        if first.lower() != name.lower():
            raise InputError(
                f"{path}: {first} and {name} in [{section}] are names of the same key; keep {known}"
            )
        if first != name:
            raise InputError(f"{path}: key {known} stands twice in [{section}]; keep one")
    return found


def _parse_value(text: str, spec: Mapping[str, Any], folder: Path) -> Any:
    """Parse the text of one key; ValueError says what is expected."""
    kind = spec["kind"]
    # Paths are taken as they stand, for a ; or # may be part of a name; in front it is a comment.
    if kind in ("path", "paths") and text.startswith((";", "#")):
        text = "\n".join(text.splitlines()[1:])
    if kind == "path":
        return _absolute(folder, text) if text else None
    if kind == "paths":
        return tuple(_absolute(folder, line.strip()) for line in text.splitlines() if line.strip())
    text = re.split(r"(?:^|\s)[;#]", text, maxsplit=1)[0].strip()
    if kind == "choice":
        if text not in spec["choices"]:
            raise ValueError(f"expected one of {', '.join(spec['choices'])}")
        return text
    if kind == "bool":
        states = configparser.ConfigParser.BOOLEAN_STATES
        if text.lower() not in states:
            raise ValueError("expected yes or no")
        return states[text.lower()]
    if kind == "ints":
        if not text:
            return None
        return tuple(sorted({_parse_number(item.strip(), spec) for item in text.split(",")}))
    return _parse_number(text, spec)


def _parse_number(text: str, spec: Mapping[str, Any]) -> Any:
    whole = spec["kind"] in ("int", "ints")
    expected = "a whole number" if whole else "a number"
    if spec["kind"] == "ints":
        expected = "whole numbers with commas between them, each"
    expected += f"{spec['range']}{', or 0' if spec['or_zero'] else ''}"
    try:
        number = int(text) if whole else float(text)
    except ValueError:
        raise ValueError(f"expected {expected}") from None
    if number not in spec["range"] and not (number == 0 and spec["or_zero"]):
        raise ValueError(f"out of range; expected {expected}")
    return number


def _absolute(folder: Path, text: str) -> Path:
    if "\0" in text:
        raise ValueError("a path cannot hold a null character")
    # Not Path.expanduser: it raises where the name after ~ is no user's.
    return Path(os.path.abspath(folder / os.path.expanduser(text)))


def _check_across_keys(path: Path, config: Config) -> None:
    graph, network = config.graph_module, config.network_module
    if graph.to_save_iterations and graph.to_save_iterations[-1] >= graph.n_iterations:
        raise InputError(
            f"{path}: [Graph Module] to_save_iterations asks for iteration "
            f"{graph.to_save_iterations[-1]}, but n_iterations = {graph.n_iterations} ends with "
            f"{graph.n_iterations - 1} (they count from 0; -1 is the seed)"
        )
    if network.to_save_epochs and network.to_save_epochs[-1] > network.n_epochs:
        raise InputError(
            f"{path}: [Network Module] to_save_epochs asks for epoch "
            f"{network.to_save_epochs[-1]}, but n_epochs = {network.n_epochs} (they count from 1)"
        )


def fill_in(config: Config, *, device: str | None, **given: Path | None) -> Config:
    """Replace ``device`` and any of [PATHS] by what the command line gives; None leaves them.

    Relative paths given here are relative to the current folder; ``~`` is expanded, as the shell
    leaves it alone in ``--out_path=~/x``.
    """
    here = Path.cwd()
    paths = {name: _absolute(here, str(path)) for name, path in given.items() if path is not None}
    return dataclasses.replace(
        config,
        general=dataclasses.replace(config.general, device=device or config.general.device),
        paths=dataclasses.replace(config.paths, **paths),
    )


def needed_path(path: Path | None, flag: str) -> Path:
    """``path``, which the command cannot do without.

    Raises:
        InputError: it is None, that is neither ``flag`` nor config.ini names it.
    """
    if path is None:
        raise InputError(f"{flag}: is missing; give it, or its key in [PATHS] of config.ini")
    return path


def format_config(config: Config, without: Collection[str] = ()) -> str:
    """The settings as the text of a config.ini that `read_config` reads back equal.

    ``without`` names sections to leave out, which are then read back as their defaults.
    """
    blocks = []
    for section, settings in zip(SECTIONS, vars(config).values(), strict=True):
        if section in without:
            continue
        lines = [f"[{section}]"]
        for key in dataclasses.fields(settings):
            text = _format_value(getattr(settings, key.name))
            lines.append(f"{_ini_name(key)} = {text}".rstrip())
        blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks)


def _format_value(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple) and value and isinstance(value[0], Path):
        return "".join(f"\n    {_path_text(path)}" for path in value)
    if isinstance(value, tuple):
        return ", ".join(str(item) for item in value)
    return _path_text(value) if isinstance(value, Path) else str(value)


def _path_text(path: Path) -> str:
    text = str(path)
    if text != text.strip() or len(text.splitlines()) > 1:
        raise InputError(
            f"{text!r}: a path with a line break or with spaces at its ends cannot be written "
            "into a config.ini; rename it"
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{text!r}: a path must be valid UTF-8; rename it") from error
    return text
