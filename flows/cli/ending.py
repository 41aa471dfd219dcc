"""How a command begins and ends: errors are lines on stderr."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from typing import TextIO

import click

from flows.answering.terminal import cleaned, in_lines


def run(command: click.Command, arguments: Sequence[str] | None = None) -> None:
    """Run `command` as `winnow`. Errors are lines on stderr and exit code 1; WINNOW_DEBUG=1 shows the traceback."""
    _open_closed_streams()
    try:
        code = command.main(args=arguments, prog_name="winnow", standalone_mode=False)
        sys.stdout.flush()
    except click.UsageError as error:
        said = io.StringIO()
        error.show(said)
        click.echo(in_lines(said.getvalue()), nl=False, err=True)
        code = error.exit_code
    except BrokenPipeError:
        # The reader left (`winnow predict ... | head`) before the last flush; Python's own must not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1  # as click has it where the reader leaves earlier
    except (click.Abort, KeyboardInterrupt) as error:
        _complain(sys.stderr, str(error.__cause__ or error) or "interrupted")
        code = 130
    except SystemExit as error:  # of a signal
        for note in getattr(error, "__notes__", ()):
            _complain(sys.stderr, note)
        raise
    except Exception as error:
        if os.environ.get("WINNOW_DEBUG"):
            raise
        _complain(sys.stderr, _message(error))
        code = 1
    sys.exit(code)


def _open_closed_streams() -> None:
    """Open closed standard streams (`winnow plan >&-`) on /dev/null.

    Otherwise the next file that is opened would get the descriptor of standard output, and receive the output of
    children.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            number = os.open(os.devnull, os.O_RDWR)  # the lowest that is free
            os.set_inheritable(number, True)
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8"))


def _message(error: Exception) -> str:
    if isinstance(error, click.ClickException):
        return error.format_message()
    if isinstance(error, ValueError | OSError | RuntimeError) and str(error):
        return str(error)
    return f"{type(error).__name__}: {error}. WINNOW_DEBUG=1 shows where."


def _complain(stream: TextIO, message: str) -> None:
    for line in message.splitlines():
        click.echo(f"winnow: {cleaned(line)}", file=stream)
