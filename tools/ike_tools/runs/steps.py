"""The steps of a run, each a command. A step that is done is not run again until its input changes.

A finished step leaves the file OUT/steps/NAME. It holds a digest of the step's command, of the
settings and files that it reads, and of the steps before it. OUT/steps/NAME.begun tells
how the step was last begun: that digest, its flags and settings, and whether it replaces another.
"""

from __future__ import annotations

import configparser
import hashlib
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

from ike_data.command_line import PROJECT_CONFIG
from ike_data.config import SECTIONS, Config, format_config
from ike_data.folders import visible_in
from ike_data.runtime.atomic import atomic_file, remove, remove_leftovers
from ike_data.runtime.claim import NO_LOCKS, inherited
from ike_data.runtime.errors import InputError


class _Begun(NamedTuple):
    """A step as it was last begun."""

    digest: str | None  # None: it never was
    replaces: bool  # a step of this name with other input, whose results may still be there
    values: dict[str, str]  # flags and settings


class Steps:
    """The steps of a run in OUT, one after the other."""

    def __init__(self, out: Path, frames: Path, lock: int) -> None:
        """``lock``: see `claim`. InputError where there are no ``frames``."""
        self._out, self._digest, self._lock = out, describe_inputs(frames), lock
        self._busy, self._stopped_by = False, 0
        self._child: subprocess.Popen[bytes] | None = None
        end_in_order(self._stop)

    def run(
        self,
        name: str,
        command: list[str],
        makes: Path | None,
        config: Config | None = None,
        *,
        saved_as: str | None = None,
        sections: Sequence[str] = (),
        reads: Sequence[Path] = (),
        when_changed: Sequence[str] = (),
        when_again: Sequence[str] = (),
        later: Sequence[Path] = (),
    ) -> None:
        """Run a command, unless it is done.

        Args:
            command: a script of the project and its flags.
            makes: a result in OUT without which it is not done; None: it has none,
                and is run each time for what it prints.
            config: its settings, saved as OUT/``saved_as``, by default OUT/``name``.ini.
            sections: those of ``config`` that it reads; it is run again where one has changed.
            reads: what it reads besides the frames and the steps before it.
            when_changed: more flags where an earlier run has begun it with other settings.
            when_again: more flags where an earlier run with these settings has not finished it.
            later: folders of OUT that later steps of the same names may have made from its result.
                They are removed when it is done, if its input is not that of the last time.

        Raises:
            InputError: one of ``reads`` is not there.
            SystemExit: it failed, with its exit status; it has said why.
        """
        unread = [section for section in SECTIONS if section not in sections]
        settings = "" if config is None else format_config(config, unread)
        self._depend_on(*command, settings, *map(describe_inputs, reads))
        done = self._out / "steps" / name
        if makes is not None and makes.exists() and _read(done) == self._digest:
            print(f"{name}: done before")
            return
        done.parent.mkdir(exist_ok=True)
        done.unlink(missing_ok=True)
        begun, values = self._begun(name), _values(command, settings)
        if begun.digest not in (None, self._digest) and begun.values:
            print(f"{name}: {_change(begun.values, values)}: made again", flush=True)
        # Until it is done: a run that is killed may leave some of the old.
        replaces = begun.replaces or begun.digest not in (None, self._digest)
        self._note_begun(name, _Begun(self._digest, replaces, values))
        if begun.digest is not None and makes is not None and self._lock != NO_LOCKS:
            # What a killed run left; no other may work on the folder.
            for folder, _, _ in os.walk(self._out / makes.relative_to(self._out).parts[0]):
                remove_leftovers(Path(folder))
        if replaces:
            command = [*command, *when_changed]
        if begun.digest == self._digest:
            command = [*command, *when_again]
        if config is not None:
            path = self._out / (saved_as or f"{name}.ini")
            note = "; Settings of this step, made by tools/run_video.sh.\n\n"
            _write(path, note + format_config(config))
            command.append(f"--config={path}")
        self._start(command)
        if replaces:
            self._remove_later(name, later)
            self._note_begun(name, _Begun(self._digest, False, values))
        _write(done, self._digest)

    def _begun(self, name: str) -> _Begun:
        text = _read(self._out / "steps" / f"{name}.begun")
        if text is None:
            return _Begun(None, False, {})
        try:
            return _Begun(**json.loads(text))
        except (ValueError, TypeError):  # damaged, or of an earlier version
            return _Begun(text, False, {})

    def _note_begun(self, name: str, begun: _Begun) -> None:
        _write(self._out / "steps" / f"{name}.begun", json.dumps(begun._asdict()))

    def _remove_later(self, name: str, later: Sequence[Path]) -> None:
        """Remove what steps have made of what this step made before."""
        steps, removed = self._out / "steps", []
        for folder in later:
            begun = steps / f"{folder.name}.begun"
            if begun.exists() and not folder.is_symlink():
                # The last of them tells that the folder is a step's.
                for path in (steps / folder.name, folder, begun):
                    remove(path)
                removed.append(folder.name)
        if removed:
            print(f"removed, as made from the earlier {name}: {', '.join(removed)}", flush=True)

    def _start(self, command: list[str]) -> None:
        """Print the command as a user would type it, and run it until it ends."""
        print(f"\n$ {shlex.join(['python', *command])}", flush=True)
        script, *flags = command
        self._busy = True
        self._child = subprocess.Popen(
            [sys.executable, str(PROJECT_CONFIG.parent / script), *flags],
            pass_fds=inherited(self._lock),
        )
        if self._stopped_by:
            self._child.terminate()
        status = self._child.wait()
        self._busy, self._child = False, None
        if self._stopped_by:
            print(file=sys.stderr)  # below the command's bar
            end_stopped(self._stopped_by)
        if status:
            # A process that a signal has ended has a negative status.
            raise SystemExit(status if status > 0 else 128 - status)

    def value(self, name: str, compute: Callable[[], str]) -> str:
        """What ``compute`` returns, kept in OUT/steps/``name`` until a step before it changes."""
        path = self._out / "steps" / name
        digest, _, value = (_read(path) or "").partition(" ")
        if digest != self._digest:
            value = compute()
            _write(path, f"{self._digest} {value}")
        return value

    def _depend_on(self, *texts: str) -> None:
        text = "\0".join([self._digest, *texts])
        self._digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()

    def _stop(self, number: int, _: object) -> None:
        # While a command is being started it is not known yet: `_start` ends it then.
        self._stopped_by = number
        if self._child is not None:
            self._child.terminate()
        elif not self._busy:
            end_stopped(number)


def end_in_order(handler: Callable[[int, object], None]) -> None:
    """Call ``handler`` at the signals that end a program, which is to end its commands first."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # nohup has SIGHUP ignored.
        if number == signal.SIGINT or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, handler)


def end_stopped(number: int) -> NoReturn:
    """End as a program that the signal ``number`` has stopped."""
    print("error: stopped; run the same command again to go on", file=sys.stderr, flush=True)
    raise SystemExit(128 + number)


def describe_inputs(path: Path) -> str:
    """Names, sizes and times of the files of an input: they tell if it has changed.

    InputError where there is nothing.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; check the path")
    files = [path]
    if path.is_dir():  # OUT may be one of its folders
        files = [file for file in visible_in(path) if file.exists() and not file.is_dir()]
    lines = []
    for file in files:
        found = file.stat()
        lines.append(f"{file.name} {found.st_size} {found.st_mtime_ns}")
    return "\n".join([str(path), *lines])


def _values(command: Sequence[str], settings: str) -> dict[str, str]:
    """The settings of a step, those of its flags before those of its configuration."""
    config = configparser.ConfigParser(interpolation=None)
    config.read_string(settings)
    values = {
        key: value.strip()
        for section in config.sections()
        for key, value in config[section].items()
    }
    flags = (flag[2:].partition("=") for flag in command if flag.startswith("--"))
    return values | {key: value or "yes" for key, _, value in flags}


def _change(was: dict[str, str], now: dict[str, str]) -> str:
    """How a step was made before, in words."""
    changes = [
        f"{key} = {was.get(key) or 'not set'}, now {now.get(key) or 'not set'}"
        for key in {**was, **now}
        if was.get(key) != now.get(key)
    ]
    return f"was made with {'; '.join(changes)}" if changes else "its input has changed"


def _read(path: Path) -> str | None:
    # A damaged mark is none that this run has made.
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None


def _write(path: Path, text: str) -> None:
    with atomic_file(path) as partial:
        partial.write_text(text, encoding="utf-8")
