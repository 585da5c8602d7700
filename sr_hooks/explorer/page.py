"""The page of the explorer in Gradio: its fields, its picture, and which event calls which method of `Explorer`."""

from __future__ import annotations

import os
from typing import Any

from sr_hooks.errors import OptionError
from sr_hooks.explorer.answer_page import TEMPLATES
from sr_hooks.explorer.explorer import Explorer, Fields, View, text_of
from sr_hooks.explorer.scene import Scene

__all__ = ["import_gradio", "make_page", "page_css"]

_COLOURS = [("usual", ""), *((name, name) for name in ("inferno", "cividis", "viridis", "magma", "gray"))]
_DRAWINGS = [("apart", "apart"), ("over the grey input", "grey"), ("in red over the input", "red")]
_KEPT_ALL = {"show_progress": "hidden", "api_visibility": "private", "queue": True, "concurrency_limit": None}


def import_gradio() -> Any:
    """Gradio, with its reports to its makers off.

    Raises:
        OptionError: it is not installed.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_RUN_HISTORY"] = "False"  # else the browser keeps every picture
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        import gradio
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in ("gradio", "gradio_client"):
            raise
        raise OptionError("the explorer needs gradio: pip install 'sr_hooks[explore]'") from None
    return gradio


def page_css() -> str:
    """The page's own style."""
    return (TEMPLATES / "page.css").read_text(encoding="utf-8")


def make_page(explorer: Explorer) -> Any:
    """A gradio.Blocks of the explorer."""
    return _Page(import_gradio(), explorer).blocks


class _Page:
    """The page while it is built: its components, and the functions that its events call."""

    def __init__(self, gradio: Any, explorer: Explorer) -> None:
        self.gradio, self.explorer = gradio, explorer
        self.first = explorer.first_fields()
        with gradio.Blocks(title="sr-hooks explore", analytics_enabled=False, fill_width=True) as self.blocks:
            self._build()
            self._connect()

    def _build(self) -> None:
        gr, explorer, first = self.gradio, self.explorer, self.first
        self.scene = gr.State(None)
        gr.HTML(
            "<h1>Which input pixels made this window?</h1><p>Click or drag on the output. Every network answers.</p>",
            elem_classes="heading",
            js_on_load=None,
        )
        with gr.Row():
            self.size = gr.Number(
                first.size, label="Window size (pixels)", precision=0, minimum=2, elem_id="size", min_width=160
            )
            self.objective = _dropdown(gr, explorer.objectives(), first.objective, "Objective", "objective")
            self.path = _dropdown(gr, explorer.paths(), first.path, "Path", "path")
            self.overlay = gr.Dropdown(
                _DRAWINGS, value=first.overlay, label="Map", elem_id="overlay", min_width=160, filterable=False
            )
            self.colormap = gr.Dropdown(
                _COLOURS, value=first.colormap, label="Colours", elem_id="colours", min_width=160,
                allow_custom_value=True,
            )  # fmt: skip
            self.zoom = gr.Checkbox(first.zoom, label="Enlarge around the window", elem_id="zoom", min_width=160)
        with gr.Row():
            with gr.Column(scale=3, min_width=400), gr.Row():
                self._build_picture()
                with gr.Column(min_width=290):
                    self._build_choice()
            with gr.Column(scale=5, min_width=440):
                self.message = gr.HTML("", elem_id="message", js_on_load=None)
                self.answers = gr.HTML("", elem_id="answers", js_on_load=None)
        self.fields = [
            self.window, self.size, self.objective, self.path, self.shown, self.overlay, self.colormap, self.zoom
        ]  # fmt: skip

    def _build_picture(self) -> None:
        gr, explorer, first = self.gradio, self.explorer, self.first
        with gr.Column(min_width=290):
            self.picture = gr.HTML(
                explorer.picture(explorer.scene, first),
                marked=None,
                html_template=(TEMPLATES / "picture.html").read_text(encoding="utf-8"),
                js_on_load=(TEMPLATES / "picture.js").read_text(encoding="utf-8"),
                elem_id="picture",
            )

    def _build_choice(self) -> None:
        gr, explorer, first = self.gradio, self.explorer, self.first
        names = list(explorer.networks)
        self.shown = gr.Radio(names, value=first.shown, label="Output of", visible=len(names) > 1, elem_id="shown")
        self.window = gr.Textbox(
            first.window, label="Window: top, left, height, width (output pixels)", elem_id="window"
        )
        self.keep = gr.Button("Keep this window for the grid", elem_id="keep", size="sm")
        self.upload = gr.UploadButton("Upload an image", file_types=["image"], elem_id="upload", size="sm")
        self.hr = gr.Checkbox(explorer.scene.hr, label="The image is ground truth: shrink it first", elem_id="hr")

    def _connect(self) -> None:
        gr, explorer = self.gradio, self.explorer
        outputs = [self.answers, self.window, self.picture, self.message]
        ask = {**_KEPT_ALL, "show_progress": "minimal", "show_progress_on": self.answers, "trigger_mode": "multiple"}
        inputs = [self.scene, *self.fields]

        def chosen(event: Any, request: Any, scene: Any, *values: Any) -> Any:
            return self._shown(explorer.mouse(request.session_hash, self._scene(scene), _fields(values), event._data))

        def stated(request: Any, scene: Any, *values: Any) -> Any:
            return self._shown(explorer.text(request.session_hash, self._scene(scene), _fields(values)))

        def asked_anew(request: Any, scene: Any, *values: Any) -> Any:
            return stated(request, scene, *values)[:3]  # the line of the upload stays

        def resized(request: Any, scene: Any, *values: Any) -> Any:
            return self._shown(explorer.size(request.session_hash, self._scene(scene), _fields(values)))

        def closed(request: Any) -> None:
            explorer.latest.forget(request.session_hash)

        chosen.__annotations__ |= {"event": gr.EventData}  # gradio goes by the annotations
        for function in (chosen, stated, asked_anew, resized, closed):
            function.__annotations__ |= {"request": gr.Request}
        self.picture.chosen(chosen, inputs, outputs, **ask)
        self.size.change(resized, inputs, outputs, **ask)
        self.window.submit(stated, inputs, outputs, **ask)
        for part in (self.objective, self.path, self.overlay, self.colormap, self.zoom):
            part.change(stated, inputs, outputs, **ask)
        self.blocks.load(stated, inputs, outputs, **ask)
        self.blocks.unload(closed)
        self.keep.click(self._keep, inputs, [self.message], **_KEPT_ALL)
        self.shown.change(self._repaint, inputs, [self.picture], **_KEPT_ALL)
        loaded = [self.scene, self.window, self.picture, self.hr, self.message]
        for event, source in ((self.upload.upload, self.upload), (self.hr.input, self.hr)):
            done = event(self._load, [source, self.scene, self.hr, *self.fields], loaded, **_KEPT_ALL)
            done.success(asked_anew, inputs, outputs[:3], **ask)

    def _scene(self, scene: Scene | None) -> Scene:
        """The page's own scene, once it has loaded an image; before, the first one."""
        return self.explorer.scene if scene is None else scene

    def _shown(self, view: View | None) -> Any:
        """The outputs of an answer. Nothing changes where a newer event came."""
        gr = self.gradio
        if view is None:
            return gr.skip(), gr.skip(), gr.skip(), gr.skip()
        if view.window is None:
            return gr.skip(), gr.skip(), gr.skip(), view.message
        marked = list(view.window.as_tuple())
        return view.answers, text_of(view.window), gr.HTML(marked=marked), view.message

    def _repaint(self, scene: Any, *values: Any) -> Any:
        return self.explorer.picture(self._scene(scene), _fields(values))

    def _load(self, file: Any, scene: Any, hr: bool, *values: Any) -> Any:
        """The outputs where an image was uploaded, or is to be read as ground truth or as input."""
        gr, before = self.gradio, self._scene(scene)
        loaded, message = self.explorer.load(file if isinstance(file, str) else None, before, hr=hr)
        if message:
            return gr.skip(), gr.skip(), gr.skip(), before.hr, message
        window = loaded.liveliest()
        marked = list(window.as_tuple())
        picture = gr.HTML(self.explorer.picture(loaded, _fields(values)), marked=marked)
        return loaded, text_of(window), picture, loaded.hr, message

    def _keep(self, scene: Any, *values: Any) -> str:
        return self.explorer.keep(self._scene(scene), _fields(values))


def _fields(values: Any) -> Fields:
    """The fields from what their components hold; an empty component holds None."""
    window, size, objective, path, shown, overlay, colormap, zoom = values
    window, objective, path, shown, overlay, colormap = (
        str(value or "") for value in (window, objective, path, shown, overlay, colormap)
    )
    return Fields(window, int(size or 1), objective, path, shown, overlay, colormap, bool(zoom))


def _dropdown(gr: Any, names: list[str], value: str, label: str, elem_id: str) -> Any:
    """A list of names that takes another text too, such as gabor:45."""
    return gr.Dropdown(names, value=value, label=label, elem_id=elem_id, allow_custom_value=True, min_width=160)
