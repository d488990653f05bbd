"""Command lines of several commands, each a module with `add_arguments` and `main`."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Mapping, Sequence


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
