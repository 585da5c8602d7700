"""`explore`: serve the page of the explorer to this machine alone, and show it in a notebook."""

from __future__ import annotations

import html
import logging
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sr_hooks.errors import OptionError, ResultError
from sr_hooks.explorer.explorer import Explorer
from sr_hooks.explorer.page import import_gradio, make_page, page_css
from sr_hooks.explorer.scene import Scene
from sr_hooks.figures.options import FigureOptions
from sr_hooks.networks.network import Network

__all__ = ["ExplorerPage", "explore"]

_LOOPBACK = "127.0.0.1"
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'"
)
"""What a browser may fetch for the page: from this server alone, also if the page asks for more."""

_START = 30.0  # seconds that the server may take to answer
_END = 30.0  # seconds at most that open pages have to be told, and that a busy machine needs
_MEGABYTES = 64  # of an uploaded file


class ExplorerPage:
    """A page that is served to this machine, until `close` or the end of the process.

    Attributes:
        url: where a browser of this machine opens the page.
        explorer: what its events call.
    """

    def __init__(self, explorer: Explorer, port: int | None) -> None:
        self.explorer = explorer
        self._socket = _listen(port)
        self.url = f"http://{_LOOPBACK}:{self._socket.getsockname()[1]}/"
        self._server = _server(explorer)
        self._thread = threading.Thread(
            target=self._server.run, args=([self._socket],), name="sr_hooks explore", daemon=True
        )
        self._thread.start()
        deadline = time.monotonic() + _START
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                self.close()
                raise OptionError(f"the page could not be served at {self.url}")
            time.sleep(0.02)

    def wait(self) -> None:
        """Serve until Ctrl-C or `close`."""
        while self._thread.is_alive():
            self._thread.join(0.5)

    def close(self) -> None:
        """End the server. The page shows what it has, and answers no more."""
        logger = logging.getLogger("uvicorn.error")
        level = logger.level
        logger.setLevel(logging.CRITICAL)  # that open pages are cut off is meant
        try:
            self._server.should_exit = True
            self._thread.join(_END)
            self._server.force_exit = True
            self._thread.join(_END)
        finally:
            logger.setLevel(level)
        self._socket.close()

    def __repr__(self) -> str:
        return f"ExplorerPage({self.url})"

    def _repr_html_(self) -> str:
        url = html.escape(self.url, quote=True)
        return (
            f'<iframe src="{url}" width="100%" height="900" style="border:0"></iframe>'
            f'<p>The page is at <a href="{url}">{url}</a>, for browsers of this machine.</p>'
        )


def explore(
    network: Any,
    image: Any,
    *,
    hr: bool = False,
    file: str | Path | None = None,
    grid: str | Path = "grid.yml",
    figure: FigureOptions | None = None,
    port: int | None = None,
) -> ExplorerPage:
    """Open a page on which one clicks or drags windows of an output, and sees the LAM of each network.

        sr_hooks.explore(network, "lr.png")                      # the last line of a cell shows the page
        page = sr_hooks.explore({"a": first, "b": second}, lr)   # several networks side by side
        page.url, page.close()

    The page is served to this machine alone (127.0.0.1), and fetches nothing from elsewhere. Every other program of
    this machine can open it too. In a script, `page.wait()` serves until Ctrl-C.

    Not for: many networks or large images, each click of which takes minutes: see `sr-hooks grid`.

    Args:
        network: a torch module, a Network, a text that `Network.load` takes; several as a list or as name to network.
        image: (C,h,w) or (1,C,h,w) float in [0, 1], an array, a PIL image or an image file; of a network over clips a
            clip.
        hr: whether the image is ground truth, which is shrunk (bicubic) by each network's scale.
        file: of the image, where that is no file's path itself: a grid file names it.
        grid: the grid file in which windows are kept (docs/grid.md).
        figure: options of the figures.
        port: of the server; by default any free one.

    Returns:
        The page; a notebook shows it.

    Raises:
        OptionError: gradio is not installed, or the port is taken.
        SRHooksError: the image cannot be read, or the first network cannot take it.
    """
    import_gradio()
    networks = _named(network)
    if file is None and isinstance(image, (str, Path)):
        file = image
    scene = Scene(networks, image, hr=hr, file=None if file is None else Path(file))
    return ExplorerPage(Explorer(networks, scene, Path(grid), figure or FigureOptions()), port)


def _named(network: Any) -> dict[str, Network]:
    """Name to network. A network without a name has that of its weights' file, or of its class."""
    if isinstance(network, Mapping):
        entries = [(str(name), _network(value)) for name, value in network.items()]
    else:
        several = network if isinstance(network, Sequence) and not isinstance(network, str) else [network]
        entries = [("", _network(value)) for value in several]
    if not entries:
        raise OptionError("no network is given: explore needs one at least")
    networks: dict[str, Network] = {}
    for stated, value in entries:
        name = stated or (value.weights.path.stem if value.weights else value.name)
        number, free = 2, name
        while free in networks:
            free, number = f"{name} {number}", number + 1
        networks[free] = value
    return networks


def _network(value: Any) -> Network:
    return Network.load(str(value)) if isinstance(value, (str, Path)) else Network.of(value)


def _listen(port: int | None) -> socket.socket:
    """A socket of the loopback interface alone.

    Raises:
        OptionError: the port is taken, or there is no such port.
    """
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((_LOOPBACK, port or 0))
        listening.listen(128)
    except (OSError, OverflowError) as error:
        listening.close()
        reason = getattr(error, "strerror", None) or error
        raise OptionError(f"port {port} of {_LOOPBACK} cannot be used: {reason}; choose another") from None
    return listening


def _server(explorer: Explorer) -> Any:
    """A uvicorn server of the page and of what can be downloaded from it."""
    import uvicorn

    config = uvicorn.Config(
        _application(explorer), log_level="error", access_log=False, timeout_graceful_shutdown=1, ws="none"
    )
    return uvicorn.Server(config)


class _KeepToThisMachine:
    """Adds `_POLICY` to every response of an ASGI application."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def with_policy(message: Any) -> None:
            if message["type"] == "http.response.start":
                added = (b"content-security-policy", _POLICY.encode()), (b"referrer-policy", b"no-referrer")
                message = {**message, "headers": [*message.get("headers", []), *added]}
            await send(message)

        await self.app(scope, receive, with_policy)


def _application(explorer: Explorer) -> Any:
    """The page, with the files that can be downloaded, for requests to this machine by its own name alone."""
    import gradio
    from fastapi import FastAPI, Response
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    def download(key: str, name: str) -> Any:
        try:
            with explorer.latest.alone():
                file = explorer.shown.file(key, name)
        except ResultError as error:
            return Response(str(error), status_code=404, media_type="text/plain")
        headers = {"Content-Disposition": f'attachment; filename="{file.name}"'}
        return Response(file.data, media_type="application/octet-stream", headers=headers)

    application = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    application.add_middleware(TrustedHostMiddleware, allowed_hosts=[_LOOPBACK, "localhost"])
    application.add_middleware(_KeepToThisMachine)
    application.add_api_route("/shown/{key}/{name}", download, response_model=None)
    theme = gradio.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
    return gradio.mount_gradio_app(
        application,
        make_page(explorer),
        path="/",
        server_name=_LOOPBACK,
        footer_links=[],
        ssr_mode=False,
        mcp_server=False,
        enable_monitoring=False,
        pwa=False,
        show_error=False,
        max_file_size=_MEGABYTES * 2**20,
        theme=theme,
        css=page_css(),
    )
