"""Runs programs that have several commands, each a module with `main`.

The arguments of a program's commands are in its module `arguments`, a function for each command.
That imports nothing heavy: `--help` and a mistake in the flags are answered at once, and the
command's own module is imported when it runs.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import importlib.util
import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from .folders import with_home

# The errors that the user's input and disks may cause -> the exit status after them.
FAILURES: dict[type[Exception], int] = {ValueError: 2, OSError: 2}

# What other packages read when they are imported, and what makes them say errors alone.
_QUIET = {
    "TORCH_LOGS": "-all",
    "TRANSFORMERS_VERBOSITY": "error",
    "DIFFUSERS_VERBOSITY": "error",
    "ACCELERATE_LOG_LEVEL": "ERROR",
    "NO_ALBUMENTATIONS_UPDATE": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "ORT_DISABLE_TELEMETRY": "1",
}


def run_command(
    package: str,
    doc: str | None,
    commands: Mapping[str, tuple[str, str]],
    argv: Sequence[str],
    failures: Mapping[type[Exception], int] = FAILURES,
) -> None:
    """Runs the command that `argv` names; the first four arguments are those of `make_parser`.

    After one of `failures` the program ends as in `exit_on_failure`.
    """
    parser = make_parser(package, doc, commands, argv)
    args = parse_arguments(parser, argv)
    set_up_terminal()
    with exit_on_failure(parser, f"{parser.prog} {args.command}", failures):
        args.main(args)


def parse_arguments(
    parser: argparse.ArgumentParser, argv: Sequence[str] | None
) -> argparse.Namespace:
    """Returns what the command line says, with the user's own folder for `~` in its paths.

    A shell leaves `--out=~/clips` as it is.
    """
    _let_any_text_out()
    args = parser.parse_args(argv)
    return argparse.Namespace(**{name: with_home(value) for name, value in vars(args).items()})


def _let_any_text_out() -> None:
    """Lets a terminal or a file of another encoding show `?` for what it lacks, as in `--help`."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def set_up_terminal() -> None:
    """Lets a command's own messages reach the terminal, and of other packages their errors alone.

    Users can act on none of what torch, transformers, diffusers, torchao, ONNX Runtime and their
    like warn of while they are imported and run. Who wants to see it asks Python for it: `-W` and
    PYTHONWARNINGS still count. Call it before any of them is imported.
    """
    logging.basicConfig(level=logging.ERROR, format="%(message)s")
    logging.getLogger(__package__).setLevel(logging.INFO)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    for name, level in _QUIET.items():
        os.environ.setdefault(name, level)


@contextmanager
def exit_on_failure(
    parser: argparse.ArgumentParser,
    name: str,
    failures: Mapping[type[Exception], int] = FAILURES,
) -> Iterator[None]:
    """Ends the program where the block raises one of `failures`.

    Its message goes to stderr, after `name`, and the exit status is the one in `failures`.
    """
    try:
        yield
    except tuple(failures) as error:
        status = next(failures[kind] for kind in failures if isinstance(error, kind))
        parser.exit(status, f"{name}: {error}\n")


def make_parser(
    package: str, doc: str | None, commands: Mapping[str, tuple[str, str]], argv: Sequence[str]
) -> argparse.ArgumentParser:
    """Returns the parser of `python -m package`, whose description is `doc`.

    `commands` maps the name of a command to its module, relative to `package`, and to a summary of
    what it does. The module's docstring describes the command that `argv` names; the module itself
    is not imported before `args.main(args)`, which runs that command.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {package}", description=doc)
    subparsers = parser.add_subparsers(dest="command", required=True)
    for name, (module_name, summary) in commands.items():
        command = subparsers.add_parser(
            name, help=summary, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        if name in argv[:1]:
            arguments = importlib.import_module(".arguments", package)
            command.description = docstring_of(module_name, package)
            getattr(arguments, name.replace("-", "_"))(command)
            command.set_defaults(main=partial(_run, module_name, package))
    return parser


def docstring_of(module_name: str, package: str) -> str | None:
    """Returns the docstring of a module, which is not imported."""
    spec = importlib.util.find_spec(module_name, package)
    return ast.get_docstring(ast.parse(Path(spec.origin).read_bytes()))


def _run(module_name: str, package: str, args: argparse.Namespace) -> None:
    importlib.import_module(module_name, package).main(args)
