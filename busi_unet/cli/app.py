"""busi-unet app: the web app."""

from __future__ import annotations

import argparse
from pathlib import Path

from busi_unet.cli import require
from busi_unet.errors import BusiUNetError, first_line


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", help="model folder or Hub id (default: the embedded weights)")
    parser.add_argument("--host", help="address to serve on; 0.0.0.0 for every interface (127.0.0.1)")
    parser.add_argument("--port", type=int, help="port to serve on (the first free one from 7860)")


def run(args: argparse.Namespace) -> None:
    from busi_unet.app.page import LAUNCH_OPTIONS, build_page
    from busi_unet.hub import is_hub_id

    # What is no name of a model at all is told here; where the Hub cannot be reached, the page says so.
    named = args.model in (None, "embedded") or Path(args.model).is_dir() or is_hub_id(args.model)
    require(named, f"{args.model} is not a model folder: name an existing folder, or a Hub id USER/NAME.")
    require(args.port is None or 0 < args.port < 65536, "--port must be from 1 to 65535.")
    # What is not given here is left to gradio's own variables, such as GRADIO_SERVER_PORT.
    try:
        build_page(args.model).launch(**LAUNCH_OPTIONS, server_name=args.host, server_port=args.port)
    except OSError as error:
        raise BusiUNetError(
            f"The app cannot be served at this address ({first_line(error).partition('. ')[0]}).",
            "Choose another --port or --host.",
        ) from error
    except ValueError as error:
        # gradio asks its own page once; on a busy machine, or through a proxy, that gets no answer.
        if "localhost" not in str(error):
            raise
        raise BusiUNetError(
            "The page did not answer its own check in time.",
            "Start it again; behind a proxy, set NO_PROXY=localhost,127.0.0.1.",
        ) from error
