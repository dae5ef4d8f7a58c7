"""The flags of a run that run_video.py and run_dataset.py share."""

from __future__ import annotations

import argparse
import os

from ike_data.command_line import DEVICE_FLAG, PROJECT_CONFIG, max_side_argument
from ike_data.config import Config, read_config
from ike_data.runtime.command import number_argument
from ike_data.runtime.errors import InputError
from ike_tools.flags import Parser

MOST_CYCLES = 1000


def add_exchange_flags(parser: Parser) -> None:
    parser.add_argument(
        "--cycles",
        type=number_argument(0, MOST_CYCLES, int),
        default=3,
        help="the most cycles that are run; 0: the flow and one graph, without a network "
        "(default: 3)",
    )
    parser.add_argument(
        "--threshold",
        type=number_argument(0, 1),
        default=0.01,
        help="end when a cycle changes the network's masks by less than this on average; 0: run "
        "all cycles (default: 0.01)",
    )
    parser.add_path(
        "--config",
        "settings of all steps (default: the project's config.ini)",
        default=PROJECT_CONFIG,
    )
    parser.add_argument(
        "--result",
        choices=["graph", "network"],
        default="graph",
        help="whose masks are the result: of one more pass of the graph, which has seen the last "
        "network's (default), or of the last network, as in the paper",
    )
    parser.add_argument("--method", choices=["raft", "dis"], help="of the flow (default: config's)")
    parser.add_path("--models", "RAFT's weights", metavar="CHECKPOINT")
    parser.add_argument("--small", action="store_true", help="the small RAFT")
    parser.add_argument(
        "--max_side",
        type=max_side_argument,
        metavar="PIXELS",
        help="the flow of larger frames is found at this size (default: config's)",
    )
    parser.add_argument("--device", **DEVICE_FLAG)


def read_exchange_config(args: argparse.Namespace) -> Config:
    """The settings of --config; InputError where the other flags cannot be followed with them."""
    config = read_config(args.config)
    if args.result == "network" and args.cycles == 0:
        raise InputError(
            "--result network: --cycles 0 makes no network; leave one of the two flags out"
        )
    sees_network = config.graph_module.features_half_chain_size >= 0
    if args.result == "graph" and args.cycles > 0 and not sees_network:
        raise InputError(
            f"{args.config}: [Graph Module] features_half_chain_size = -1: no graph would see the "
            "network's masks; make it 0 or more, or use --result network"
        )
    last_saved(args, config)
    return config


def last_saved(args: argparse.Namespace, config: Config) -> tuple[int, int]:
    """The last iteration and epoch that are saved: what goes on to the next step.

    InputError where no iteration after the seed is saved.
    """
    graph, network = config.graph_module, config.network_module
    iterations = graph.to_save_iterations or (graph.n_iterations - 1,)
    if iterations[-1] < 0:
        raise InputError(
            f"{args.config}: [Graph Module] to_save_iterations saves the seed alone; save the "
            f"iteration that the network learns from, e.g. {graph.n_iterations - 1}"
        )
    return iterations[-1], (network.to_save_epochs or (network.n_epochs,))[-1]


def flow_flags(args: argparse.Namespace) -> list[str]:
    """Those flags that are extract_optical_flow.py's, with paths that hold in any folder."""
    flags = [f"--method={args.method}"] if args.method else []
    flags += [f"--models={os.path.abspath(args.models)}"] if args.models else []
    flags += ["--small"] if args.small else []
    return flags + ([] if args.max_side is None else [f"--max_side={args.max_side}"])


def exchange_flags(args: argparse.Namespace) -> list[str]:
    """All of the flags, for a run of run_video.py in any folder."""
    return [
        f"--cycles={args.cycles}",
        f"--threshold={args.threshold!r}",
        f"--result={args.result}",
        f"--config={os.path.abspath(args.config)}",
        *flow_flags(args),
        *([f"--device={args.device}"] if args.device else []),
    ]
