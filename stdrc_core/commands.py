"""Command lines of several commands, each a module with `add_arguments` and `main`."""

from __future__ import annotations

import argparse
import importlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

# What may go wrong by the user's input and disks -> the exit status.
FAILURES: dict[type[Exception], int] = {ValueError: 2, OSError: 2}


def run_command(
    package: str,
    doc: str | None,
    commands: Mapping[str, tuple[str, str]],
    argv: Sequence[str],
    failures: Mapping[type[Exception], int] = FAILURES,
) -> None:
    """Runs the command that `argv` names; of a failure one sentence on stderr and its status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = make_parser(package, doc, commands, argv)
    args = parser.parse_args(argv)
    with exit_on_failure(parser, f"{parser.prog} {args.command}", failures):
        args.main(args)


@contextmanager
def exit_on_failure(
    parser: argparse.ArgumentParser,
    name: str,
    failures: Mapping[type[Exception], int] = FAILURES,
) -> Iterator[None]:
    """Ends the program after one of `failures`: one sentence of `name` on stderr, its status."""
    try:
        yield
    except tuple(failures) as error:
        status = next(failures[kind] for kind in failures if isinstance(error, kind))
        parser.exit(status, f"{name}: {error}\n")


def make_parser(
    package: str, doc: str | None, commands: Mapping[str, tuple[str, str]], argv: Sequence[str]
) -> argparse.ArgumentParser:
    """The parser of `python -m package`; `args.main(args)` runs the command that `argv` names.

    `commands` are name -> (module, relative to `package`; what it does). Only the module of the
    command asked for is imported.
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
