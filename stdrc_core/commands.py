"""Runs programs that have several commands, each a module with `add_arguments` and `main`."""

from __future__ import annotations

import argparse
import importlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from .folders import with_home

# The errors that the user's input and disks may cause -> the exit status after them.
FAILURES: dict[type[Exception], int] = {ValueError: 2, OSError: 2}


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
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = make_parser(package, doc, commands, argv)
    args = parse_arguments(parser, argv)
    with exit_on_failure(parser, f"{parser.prog} {args.command}", failures):
        args.main(args)


def parse_arguments(
    parser: argparse.ArgumentParser, argv: Sequence[str] | None
) -> argparse.Namespace:
    """Returns what the command line says, with the user's own folder for `~` in its paths.

    A shell leaves `--out=~/clips` as it is.
    """
    args = parser.parse_args(argv)
    return argparse.Namespace(**{name: with_home(value) for name, value in vars(args).items()})


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
    what it does. Only the module of the command that `argv` names is imported. After parsing,
    `args.main(args)` runs that command.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {package}", description=doc)
    subparsers = parser.add_subparsers(dest="command", required=True)
    for name, (module_name, summary) in commands.items():
        command = subparsers.add_parser(
            name, help=summary, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        if name in argv[:1]:
            module = importlib.import_module(module_name, package)
            command.description = module.__doc__
            module.add_arguments(command)
            command.set_defaults(main=module.main)
    return parser
