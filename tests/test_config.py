"""config.ini: what is read, what is refused and how, and that saving loses nothing."""

import dataclasses
import re
from pathlib import Path

import pytest
from files import write_config

from ike_data.command_line import PROJECT_CONFIG
from ike_data.config import (
    SECTIONS,
    Paths,
    fill_in,
    format_config,
    needed_path,
    read_config,
)
from ike_data.runtime.errors import InputError
from ike_data.saved_config import check_saved_config, save_config

# As the authors' program ships it: only the keys of docs/method.md section 2.
AUTHORS = """
[General]
working_h = 224
working_w = 416
[PATHS]
FRAMES_PATH =
FWD_OF_PATH =
BWD_OF_PATH =
OUT_PATH =
PSEUDO_GT_PATH =
[Graph Module]
seed_type = 0                      ; 0 random, 1 uniform, 2 central Gaussian
seed_type_sigma_percent = 0.5      # of min(height, width)
;ike_features_paths = a folder
sigma = 4
n_iterations = 20
to_save_iterations = -1, 19        ; empty: all
dir_features_half_chain_size = 5
features_half_chain_size = 1
lambda = 100
[Network Module]
n_epochs = 5
batch_size = 3
learning_rate = 0.0001
to_save_epochs = 5
"""
REQUIRED = [
    line.split(" = ")[0] for line in AUTHORS.splitlines() if " = " in line and line[0].islower()
]


def write(folder, text):
    path = folder / "config.ini"
    path.write_text(text, encoding="utf-8")
    return path


def with_line(key, line, text=AUTHORS):
    """AUTHORS with the line of ``key`` replaced."""
    replaced, n = re.subn(rf"^{key} =.*$", line.replace("\\", r"\\"), text, flags=re.M)
    assert n == 1, key
    return replaced


def refused(path, *parts):
    with pytest.raises(InputError) as caught:
        read_config(path)
    message = str(caught.value)
    assert "\n" not in message
    for part in (str(path), *parts):
        assert part in message, message
    return message


PAPER_CONFIG = PROJECT_CONFIG.parent / "configs" / "paper.ini"


def test_the_projects_file_departs_from_the_paper_where_that_was_measured():
    """docs/extensions.md has the numbers."""
    paper, ours = read_config(PAPER_CONFIG), read_config(PROJECT_CONFIG)
    departures = dict(dir_features_half_chain_size=-1, motion_saliency=True, motion_prior=True)
    departures |= dict(degree_normalisation=True, bootstrap_passes=1)
    departures |= dict(refinement=True, coarse_graph=True)
    graph = dataclasses.replace(paper.graph_module, **departures)
    departures = dict(base_channels=16, passes_per_epoch=0, batch_size=2, learning_rate=0.003)
    departures |= dict(cosine_decay=True, confidence_weights=True, flips=True, prior_bias=True)
    departures |= dict(half_size_share=0.6, frame_agreement=True, along_edges=True)
    network = dataclasses.replace(paper.network_module, **departures)
    assert ours == dataclasses.replace(paper, graph_module=graph, network_module=network)


def test_keys_are_read_by_their_older_names(tmp_path):
    """As in the config.ini of an older run; it is saved with the names of today."""
    text = PROJECT_CONFIG.read_text()
    older = {"degree_normalisation": "even_links", "bootstrap_passes": "appearance_passes"}
    for name, older_name in older.items():
        renamed = re.sub(rf"^{name} =", f"{older_name.upper()} =", text, flags=re.M)
        assert renamed != text
        config = read_config(write(tmp_path, renamed))
        assert config == read_config(PROJECT_CONFIG)
        assert f"\n{name} = " in format_config(config)
        wrong = re.sub(rf"^{name} = .*", f"{older_name} = x", text, flags=re.M)
        refused(write(tmp_path, wrong), f"{older_name} = x: expected ")
        both = text.replace(f"\n{name} =", f"\n{older_name} = 0\n{name} =")
        refused(
            write(tmp_path, both), f"{older_name} and {name} in [Graph Module] are names of the"
        )


def test_the_projects_file_explains_every_key():
    text = PROJECT_CONFIG.read_text()
    for section, section_type in SECTIONS.items():
        assert f"[{section}]" in text
        for key in dataclasses.fields(section_type):
            assert re.search(rf"^;?{key.metadata['name'] or key.name} =", text, re.M), key.name


def test_the_authors_file_means_the_same(tmp_path):
    ours, theirs = read_config(PAPER_CONFIG), read_config(write(tmp_path, AUTHORS))
    assert theirs == ours
    without_paths = re.sub(r"\[PATHS\][^\[]*", "", AUTHORS)
    assert read_config(write(tmp_path, without_paths)) == ours


def test_case_of_keys_comments_and_empty_lists(tmp_path):
    text = with_line("sigma", "SIGMA = 2.5 # frames")
    text = with_line("to_save_iterations", "to_save_iterations = ; all", text)
    text = with_line("to_save_epochs", "to_save_epochs = 5, 1 ,1", text)
    config = read_config(write(tmp_path, text))
    assert config.graph_module.sigma == 2.5
    assert config.graph_module.to_save_iterations is None
    assert config.network_module.to_save_epochs == (1, 5)


def test_feature_paths_are_relative_to_the_file(tmp_path):
    folders = ["net 1/results;x", "#5 maps # a", "100%/epoch"]
    lines = "ike_features_paths =\n" + "".join(f"    {tmp_path.name}/{name}\n" for name in folders)
    lines += "    /elsewhere/maps\n"
    config = read_config(write(tmp_path, with_line("sigma", f"{lines}sigma = 4")))
    expected = [tmp_path / tmp_path.name / name for name in folders]
    assert config.graph_module.ike_features_paths == (*expected, Path("/elsewhere/maps"))
    on_the_keys_line = with_line("sigma", "ike_features_paths = ../maps\nsigma = 4")
    config = read_config(write(tmp_path, on_the_keys_line))
    assert config.graph_module.ike_features_paths == (tmp_path.parent / "maps",)


@pytest.mark.parametrize("key", REQUIRED)
def test_a_missing_key_is_named(tmp_path, key):
    refused(write(tmp_path, with_line(key, "")), f"key {key} is missing", "copy its line")


@pytest.mark.parametrize("key", REQUIRED)
def test_a_misspelt_key_has_its_near_one_suggested(tmp_path, key):
    misspelt = key[:2] + key[3:]
    text = with_line(key, f"{misspelt} = 1")
    refused(write(tmp_path, text), f"unknown key {misspelt}", f"did you mean {key}?")


def test_keys_of_earlier_versions(tmp_path, capsys):
    """Every config.ini that they saved has them: off they are told, on they are refused."""
    text = f"{AUTHORS}soft_labels = no\nlight = 0.25\nweight_average = 0.0\n"
    config = read_config(path := write(tmp_path, text))
    assert config.network_module.colour_jitter == 0.25
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        f"{path}: soft_labels and weight_average in [Network Module]: no longer used"
    )
    assert "colour_jitter = 0.25" in format_config(config)
    for key in ("soft_labels = yes", "weight_average = 0.9", "Soft_Labels = perhaps"):
        on = write(tmp_path, f"{AUTHORS}{key}\n")
        refused(on, f"key {key.split()[0]} in [Network Module] is gone", "delete its line")
    both = write(tmp_path, f"{text}colour_jitter = 0.25\n")
    refused(both, "light and colour_jitter in [Network Module] are names", "keep colour_jitter")


@pytest.mark.parametrize("section", ["General", "Graph Module", "Network Module"])
def test_sections_missing_misspelt_or_doubled(tmp_path, section):
    without = re.sub(rf"\[{section}\][^\[]*", "", AUTHORS)
    refused(write(tmp_path, without), f"section [{section}] is missing")
    misspelt = AUTHORS.replace(f"[{section}]", f"[{section[:-1]}]")
    refused(write(tmp_path, misspelt), f"[{section[:-1]}]", f"did you mean {section}?")
    twice = write(tmp_path, f"{AUTHORS}[{section}]\n")
    line = len(AUTHORS.splitlines()) + 1
    refused(twice, f"section [{section}] stands twice (line {line})", "make it one")


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("device", "gpu", "one of auto, cpu, cuda"),
        ("working_h", "7", "at least 8"),
        ("working_h", "224.0", "whole number"),
        ("working_w", "wide", "whole number"),
        ("working_w", "", "whole number"),
        ("method", "farneback", "one of raft, dis"),
        ("small", "perhaps", "yes or no"),
        ("max_side", "63", "a whole number of at least 64 and at most 65536, or 0"),
        ("max_side", "65537", "a whole number of at least 64 and at most 65536, or 0"),
        ("max_side", "-1", "a whole number of at least 64 and at most 65536, or 0"),
        ("max_side", "416.0", "a whole number of at least 64 and at most 65536, or 0"),
        ("seed_type", "3", "at most 2"),
        ("seed_type_sigma_percent", "0", "above 0"),
        ("ike_features_paths", "a\0b", "a path cannot hold a null character"),
        ("sigma", "nan", "out of range"),
        ("sigma", "inf", "out of range"),
        ("sigma", "-4", "above 0"),
        ("sigma", "4\n  half_window = 3", "sigma = 4 half_window = 3: expected a number above 0"),
        ("half_window", "-1", "at least 0"),
        ("half_window", "1" + "0" * 400, "out of range; expected a whole number"),
        ("n_iterations", "0", "at least 1"),
        ("to_save_iterations", "1, x", "whole numbers with commas between them, each of at least"),
        ("to_save_iterations", "-1 19", "whole numbers with commas between them"),
        ("to_save_iterations", "-1,,19", "whole numbers with commas between them"),
        ("to_save_iterations", "-1; 19", "whole numbers with commas between them"),
        ("to_save_iterations", "-2", "at least -1"),
        ("to_save_iterations", "20", "ends with 19"),
        ("dir_features_half_chain_size", "-2", "at least -1"),
        ("features_half_chain_size", "1.5", "whole number"),
        ("lambda", "0", "of at least 1e-06 and at most"),
        ("lambda", "1e13", "of at least 1e-06 and at most"),
        ("n_epochs", "0", "at least 1"),
        ("batch_size", "0", "at least 1"),
        ("learning_rate", "0", "above 0"),
        ("learning_rate", "1e39", "at most"),
        ("to_save_epochs", "6", "n_epochs = 5"),
        ("to_save_epochs", "0", "at least 1"),
        ("base_channels", "0", "at least 1"),
        ("seed", "-1", "at least 0"),
    ],
)
def test_values_of_the_wrong_type_or_out_of_range(tmp_path, key, value, expected):
    refused(write_config(tmp_path / "config.ini", **{key: value}), key, expected)


@pytest.mark.parametrize("value", [0, 64])
def test_the_smallest_sizes_of_flow(tmp_path, value):
    config = read_config(write_config(tmp_path / "config.ini", max_side=value))
    assert config.optical_flow.max_side == value


def test_a_missing_file_and_a_folder(tmp_path):
    refused(tmp_path / "config.ini", "no such file", "--config")
    with pytest.raises(InputError, match="is a folder"):
        (tmp_path / "config.ini").mkdir()
        read_config(tmp_path / "config.ini")


def test_the_command_line_fills_in_paths_and_device(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = AUTHORS.replace("FRAMES_PATH =", "FRAMES_PATH = video")
    config = fill_in(read_config(write(tmp_path, text)), device="cpu", out_path=Path("out"))
    assert config.general.device == "cpu"
    assert config.paths.frames_path == tmp_path / "video"
    assert config.paths.out_path == tmp_path / "out"
    with pytest.raises(InputError, match=r"--pseudo_gt_path: is missing"):
        needed_path(config.paths.pseudo_gt_path, "--pseudo_gt_path")


@pytest.mark.parametrize("content", [b"; my own settings\n[General]\n", b"\xff\xfe binary", None])
def test_what_a_person_has_put_there_is_never_overwritten(tmp_path, content):
    path = tmp_path / "config.ini"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    with pytest.raises(InputError, match="choose another out_path"):
        check_saved_config(tmp_path, "main.py")
    assert content is None or path.read_bytes() == content


def test_a_byte_order_mark_and_windows_line_ends(tmp_path):
    path = tmp_path / "config.ini"
    path.write_bytes(b"\xef\xbb\xbf" + AUTHORS.replace("\n", "\r\n").encode())
    assert read_config(path) == read_config(PAPER_CONFIG)


@pytest.mark.parametrize("key", REQUIRED)
@pytest.mark.parametrize("second", [str.lower, str.upper], ids=["same case", "other case"])
def test_every_key_that_stands_twice_is_named(tmp_path, key, second):
    text = re.sub(rf"^{key} = .*$", rf"\g<0>\n{second(key)} = 1", AUTHORS, flags=re.M)
    refused(write(tmp_path, text), f"key {key} stands twice in [", "keep one")


def test_default_is_no_section(tmp_path):
    # configparser would spread its keys over all sections.
    refused(write(tmp_path, "[DEFAULT]\nx = 1\n" + AUTHORS), "unknown section [DEFAULT]; known are")


@pytest.mark.parametrize(
    "content",
    [
        b"working_h = 224\n",
        b"[General\nx = 1\n",
        b"[General]\njust words\n",
        "x = größer\n".encode("latin-1"),
        AUTHORS.encode("utf-16"),
        bytes(range(256)),
    ],
    ids=["no section", "open bracket", "no value", "Latin-1", "UTF-16", "bytes"],
)
def test_what_is_not_an_ini_file_gets_one_line_with_the_remedy(tmp_path, content):
    path = tmp_path / "config.ini"
    path.write_bytes(content)
    refused(path, "is not a valid ini file", "UTF-8", "key = value")


def test_comments_in_place_of_paths(tmp_path):
    text = AUTHORS.replace("FRAMES_PATH =", "FRAMES_PATH = ; from the command line")
    text = text.replace("OUT_PATH =", "OUT_PATH = # as well")
    text = with_line(
        "sigma", "ike_features_paths = ; two\n  a\n  ; not this one\n  b\nsigma = 4", text
    )
    config = read_config(write(tmp_path, text))
    assert config.paths == Paths()
    assert config.graph_module.ike_features_paths == (tmp_path / "a", tmp_path / "b")


def test_home_in_paths(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    text = AUTHORS.replace("FRAMES_PATH =", "FRAMES_PATH = ~/video")
    text = text.replace("PSEUDO_GT_PATH =", "PSEUDO_GT_PATH = ~no_such_user/masks")
    config = read_config(write(tmp_path, text))
    assert config.paths.frames_path == tmp_path / "video"
    assert config.paths.pseudo_gt_path == tmp_path / "~no_such_user" / "masks"
    # The shell does not expand --out_path=~/x.
    assert fill_in(config, device=None, out_path=Path("~/x")).paths.out_path == tmp_path / "x"


def test_a_path_that_is_not_utf_8_is_refused_before_anything_is_written(tmp_path):
    config = read_config(PROJECT_CONFIG)
    config = fill_in(config, device=None, frames_path=Path("caf\udce9"))
    with pytest.raises(InputError, match="rename it") as caught:
        save_config(config, tmp_path, [])
    str(caught.value).encode()  # it can be printed
    assert list(tmp_path.iterdir()) == []


def test_a_note_cannot_break_the_settings(tmp_path):
    notes = ["command: main.py --config caf\udce9.ini", "frames: b\n[General]\nworking_h = 9"]
    save_config(read_config(PROJECT_CONFIG), tmp_path, notes)
    saved = (tmp_path / "config.ini").read_text(encoding="utf-8")
    assert "# command: main.py --config caf\\udce9.ini\n" in saved
    assert "# frames: b [General] working_h = 9\n" in saved
    assert read_config(tmp_path / "config.ini") == read_config(PROJECT_CONFIG)
