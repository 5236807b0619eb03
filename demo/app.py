"""The page and its server: a gradio application that loads nothing from elsewhere and sends nothing anywhere."""

from __future__ import annotations

import hashlib
import html
import os
import secrets
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from vesalius.data.modality import MODALITIES
from vesalius.demo.choices import (
    ANY,
    examples,
    finding_choices,
    greyed_out,
    modality_choices,
    side_choices,
    side_hint,
    told,
    wording,
)
from vesalius.demo.config import DemoConfig
from vesalius.demo.drawing import MAX_GUIDANCE, MAX_NUM, MAX_SEED, MAX_STEPS, MAX_TEXT, Order, Studio
from vesalius.inference.request import request_modality
from vesalius.inference.sample import Sample
from vesalius.models.support import Support, support_of

if TYPE_CHECKING:
    from vesalius.inference.generator import Generator

LABEL = "Synthetic: not for diagnosis"
FROM_PROMPT = "from the prompt"
EXAMPLES = (
    "Axial chest CT with a 24 mm nodule in the left lung.",
    "Chest CT with a pleural effusion on the right.",
    "Axial T2-weighted brain MRI with a mass on the left.",
    "Axial brain MRI, normal.",
    "H&E tile with two glands and a lymphocytic infiltrate.",
    "H&E histopathology of the breast with necrosis.",
)
CSS = """
.gradio-container { max-width: 1180px !important; margin: 0 auto !important; padding-top: 3.2rem !important; }
/* Fixed, so that no scrolling hides it; below gradio's own messages. */
#label { position: fixed; inset: 0 0 auto 0; z-index: 900; border-radius: 0; background: #7a1f1f; }
#label .html-container, #label .prose { margin: 0; padding: 0; }
#label p { margin: 0; padding: .45rem .9rem; text-align: center; font-weight: 600; color: #fff; }
/* On a phone the pictures come between the prompt and the settings. */
#desk { display: grid; grid-template: "ask" "pictures" "settings" / minmax(0, 1fr); }
@media (min-width: 768px) {
  #desk { grid-template: "ask pictures" auto "settings pictures" 1fr / minmax(0, 2fr) minmax(0, 3fr); }
}
#ask { grid-area: ask; } #settings { grid-area: settings; } #pictures { grid-area: pictures; }
#title h1 { margin: 0; font-size: 1.5rem; }
#title p { margin: .1rem 0 0; opacity: .8; }
#dice { align-self: flex-end; }
#gallery.crisp img { image-rendering: pixelated; }
#gallery .grid-wrap { min-height: 0; max-height: none; }
#gallery .grid-container { grid-template-columns: repeat(auto-fill, minmax(min(190px, 46%), 1fr)); padding-top: 2rem; }
/* Captions stand below the pictures: laid over them, as usual, they would hide findings. */
#gallery .grid-container .thumbnail-lg { aspect-ratio: auto; height: auto; background: none; }
#gallery .grid-container .thumbnail-lg img { position: static; border-radius: 0;
  width: 100%; height: auto; aspect-ratio: 1; }
#gallery .grid-container .caption-label { position: static; display: block; max-width: 100%; padding: .3rem .4rem;
  border: 0; white-space: normal; text-align: left; font-size: .75rem; line-height: 1.35; }
#gallery:has(.preview) .grid-wrap { min-height: 30rem; }
#gallery .preview .media-button img { display: block; margin: 0 auto;
  width: min(100%, 60vh); aspect-ratio: 1; object-fit: contain; }
#recipe table { width: 100%; border-collapse: collapse; table-layout: fixed; border: 0; }
#recipe tr { border: 0; }
#recipe th { width: 8.5em; text-align: left; font-weight: 600; }
#recipe th, #recipe td { padding: .25rem .5rem; vertical-align: top; overflow-wrap: anywhere;
  border: 0; border-bottom: 1px solid var(--border-color-primary); }
#json, #json * { min-width: 0; overflow-wrap: anywhere; }
#off p { margin: .2rem 0; font-size: .8rem; }
#off span { display: inline-block; margin: .1rem .3rem .1rem 0; padding: 0 .4rem; border-radius: .3rem; opacity: .55;
  border: 1px dashed currentColor; cursor: not-allowed; }
#files .empty { min-height: 5rem; }
#files tr.file { padding: .1rem .4rem; }
#files td { padding: .2rem .4rem; }
#files td:has(.label-clear-button) { display: none; }
#files td.filename { max-width: none; width: 100%; }
#files td.download { min-width: 5.5rem; }
"""
FONTS = ("system-ui", "Segoe UI", "Roboto", "Helvetica Neue", "Arial", "sans-serif")
# The browser itself refuses whatever gradio's own page would fetch from elsewhere.
POLICY = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; base-uri 'self'; object-src 'none'"


class _PolicyMiddleware:
    """Adds the content policy to every answer (plain ASGI, since streams must not be buffered)."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def send_with_policy(message: Any) -> None:
            if message["type"] == "http.response.start":
                extra = [(b"content-security-policy", POLICY.encode()), (b"referrer-policy", b"no-referrer")]
                message = {**message, "headers": [*message.get("headers", ()), *extra]}
            await send(message)

        await self.app(scope, receive, send_with_policy)


def caption_of(sample: Sample) -> str:
    """What stands under a picture, and is its alternative text."""
    return f"{LABEL} · {sample.modality} · seed {sample.seed}"


def recipe_table(samples: Sequence[Sample], num: int) -> str:
    """HTML of what the pictures of one order share, the seed of each, and how many of `num` are drawn."""
    first = samples[0]
    rows = (
        ("Status", LABEL),
        ("Pictures", f"{len(samples)} of {num}" if len(samples) < num else str(num)),
        ("Prompt", first.text),
        *([("Negative prompt", first.negative)] if first.negative else []),
        ("Modality", first.modality),
        ("Seeds", ", ".join(str(s.seed) for s in samples)),
        ("Steps", f"{first.steps} ({first.scheduler}), guidance {first.guidance:g}, {first.height} x {first.width} px"),
        ("Base", f"{first.base} {first.base_digest[:12]}"),
        ("Adapter", first.adapter_digest[:12] if first.adapter_digest else "none"),
    )
    cells = "".join(f'<tr><th scope="row">{name}</th><td>{html.escape(value)}</td></tr>' for name, value in rows)
    return f"<table>{cells}</table>"


def build_app(config: DemoConfig, generator: Generator | None = None) -> gr.Blocks:
    """The page. generator: an opened one; None opens the configuration's base and adapter.

    ValueError where these are missing, unsafe, or do not fit each other.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    if generator is None:
        from vesalius.inference.generator import Generator

        generator = Generator(config.base, config.adapter, device=config.device)
    studio = Studio(generator)
    support = support_of(generator.base.name, config.adapter)

    def draw(
        prompt: str, modality: str, num: int, seed: int, steps: int, guidance: float, negative: str,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 - gradio looks for it in the defaults
    ) -> Iterator[tuple[list[tuple[str, str]], list[str], str, list[dict[str, Any]]]]:  # fmt: skip
        try:
            order = Order(
                prompt=prompt or "", modality=None if modality == FROM_PROMPT else modality,
                num=int(num), seed=int(seed), steps=int(steps), guidance=float(guidance), negative=negative or "",
            )  # fmt: skip
            if support and (weak := support.warn(order.prompt, request_modality(order.requests()[0]).name)):
                gr.Warning(f"Expect little: {html.escape(weak)}", duration=20)
            # gradio copies what is yielded into its own cache, which `delete_cache` empties.
            with tempfile.TemporaryDirectory() as folder:
                samples: list[Sample] = []
                pictures: list[tuple[str, str]] = []
                progress((0, order.num), desc="Drawing", unit="pictures")
                for sample, content in studio.draw(order):
                    path = Path(folder, sample.file_name)
                    path.write_bytes(content)
                    samples.append(replace(sample, sha256=hashlib.sha256(content).hexdigest()))
                    pictures.append((str(path), caption_of(sample)))
                    progress((len(samples), order.num), desc="Drawing", unit="pictures")
                    yield (
                        pictures,
                        [p for p, _ in pictures],
                        recipe_table(samples, order.num),
                        [s.to_json() for s in samples],
                    )
        except ValueError as error:
            raise gr.Error(html.escape(str(error), quote=False), print_exception=False) from None
        except TypeError:
            raise gr.Error("Seed, steps and number must be numbers", print_exception=False) from None

    def recall(file: str) -> tuple[str, str, int, int, int, float, str]:
        try:
            order, remark = studio.recall(Path(file))
        except ValueError as error:
            raise gr.Error(html.escape(str(error), quote=False), print_exception=False) from None
        if remark:
            gr.Warning(remark)
        return order.prompt, order.modality or FROM_PROMPT, 1, order.seed, order.steps, order.guidance, order.negative

    with gr.Blocks(
        title=f"Vesalius - {LABEL}", analytics_enabled=False, delete_cache=(60, config.keep_minutes * 60)
    ) as app:
        gr.HTML(f'<p role="note">{LABEL}</p>', elem_id="label", padding=False)
        gr.Markdown(
            "# Vesalius\nMedical pictures from words, for teaching and research. "
            "Every picture is made up; none shows a patient. Do not enter patients' data.",
            elem_id="title",
        )
        with gr.Row(equal_height=False, elem_id="desk"):
            with gr.Column(elem_id="ask", min_width=0):
                prompt = gr.Textbox(
                    label="Prompt", lines=3, max_length=MAX_TEXT, placeholder=EXAMPLES[0], autofocus=True,
                    info="What the picture shows: the scan, the findings, their side and size. Whole reports work too.",
                )  # fmt: skip
                with gr.Row():
                    go = gr.Button("Draw", variant="primary", scale=3, min_width=120)
                    stop = gr.Button("Stop", variant="secondary", scale=1, min_width=80)
            with gr.Column(elem_id="settings", min_width=0):
                gr.Examples(examples(support, EXAMPLES), inputs=prompt, label="Examples")
                if support:
                    _builder(support, prompt)
                names = [(told(m, n), m) if support and not (n := support.ask(m)) else (m, m) for m in MODALITIES]
                modality = gr.Dropdown([(FROM_PROMPT,) * 2, *names], value=FROM_PROMPT, label="Modality")
                num = gr.Slider(1, MAX_NUM, value=3, step=1, label="Number of pictures")
                with gr.Row(equal_height=True):
                    seed = gr.Number(
                        0, label="Seed", precision=0, minimum=0, maximum=MAX_SEED, scale=3, min_width=140,
                        info="The same seed draws the same picture.",
                    )  # fmt: skip
                    dice = gr.Button("New seed", size="md", scale=1, min_width=110, elem_id="dice")
                with gr.Accordion("More", open=False):
                    steps = gr.Slider(
                        1, MAX_STEPS, value=generator.steps, step=1, label="Steps", info="More take longer."
                    )
                    guidance = gr.Slider(
                        1.0,
                        MAX_GUIDANCE,
                        value=generator.guidance,
                        step=0.5,
                        label="Guidance",
                        info="How strictly the prompt is followed; 1 is freely.",
                    )
                    negative = gr.Textbox(
                        label="Negative prompt", lines=1, max_length=MAX_TEXT, info="What the picture should not show."
                    )
                    png = gr.UploadButton(
                        "Recall settings from a PNG", file_types=[".png"], file_count="single", size="sm"
                    )
            with gr.Column(elem_id="pictures", min_width=0):
                gallery = gr.Gallery(
                    label=f"Pictures ({LABEL.lower()})", columns=3, object_fit="contain", height="auto",
                    interactive=False, format="png", buttons=["download", "fullscreen"], elem_id="gallery",
                    elem_classes=["crisp"] if studio.size < 256 else [],
                )  # fmt: skip
                table = gr.HTML("", label="Recipe", elem_id="recipe")
                files = gr.Files(label="PNG files, each with its recipe inside", interactive=False, elem_id="files")
                with gr.Accordion("Recipes as JSON", open=False):
                    recipes = gr.JSON(label="One for each picture", show_label=False, elem_id="json")
        settings = [prompt, modality, num, seed, steps, guidance, negative]
        drawing = gr.on(
            [go.click, prompt.submit], draw, inputs=settings, outputs=[gallery, files, table, recipes], api_name="draw",
            api_description=f"Draw pictures of a prompt. {LABEL}.", concurrency_limit=1, show_progress_on=gallery,
            trigger_mode="once",
        )  # fmt: skip
        stop.click(None, cancels=[drawing], queue=False, api_visibility="private")
        dice.click(lambda: secrets.randbelow(1_000_000), outputs=seed, queue=False, api_visibility="private")
        png.upload(recall, inputs=png, outputs=settings, queue=False, api_visibility="private")
    app.queue(max_size=config.max_queue, default_concurrency_limit=1)
    return app


def _builder(support: Support, prompt: gr.Textbox) -> None:
    """Choices from which a prompt is made: only what the base has seen, with the rest greyed out below."""
    first = next(iter(support.modalities))

    def pick(modality: str, finding: str) -> tuple[Any, Any, str, str]:
        kinds = finding_choices(support, modality)
        finding = finding if finding in dict(kinds).values() else kinds[0][1]
        sides = side_choices(support, modality, finding)
        return (
            gr.update(choices=kinds, value=finding, interactive=len(kinds) > 1),
            gr.update(choices=sides, value=ANY, interactive=len(sides) > 1, info=side_hint(support, modality, finding)),
            greyed_out(support, modality, finding),
            wording(support, modality, finding, ANY),
        )

    with gr.Accordion("Choose what the picture shows", open=False):
        kinds, sides, grey, _ = pick(first, ANY)
        modality = gr.Dropdown(modality_choices(support), value=first, label="Imaging")
        finding = gr.Dropdown(label="Finding", **_settings(kinds))
        side = gr.Dropdown(label="Side", **_settings(sides))
        off = gr.HTML(grey, elem_id="off")
    quiet: dict[str, Any] = {"queue": False, "api_visibility": "private"}
    for each in (modality, finding):
        each.input(pick, inputs=[modality, finding], outputs=[finding, side, off, prompt], **quiet)
    side.input(lambda m, f, s: wording(support, m, f, s), inputs=[modality, finding, side], outputs=prompt, **quiet)


def _settings(update: dict[str, Any]) -> dict[str, Any]:
    """What an update changes, as a component is made with it."""
    return {k: v for k, v in update.items() if not k.startswith("__")}


def check_port(config: DemoConfig) -> None:
    """ValueError where the page's address cannot be listened on; asked before a model is loaded."""
    try:
        family = socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((config.host, config.port))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ValueError(
            f"{config.host}:{config.port} cannot be listened on ({reason}); give another --port or --host"
        ) from None


def serve(app: gr.Blocks, config: DemoConfig) -> str:
    """Start the server in the background; returns the page's address. ValueError where its port is taken."""
    check_port(config)
    from starlette.middleware import Middleware

    theme = gr.themes.Default(primary_hue="indigo", font=FONTS, font_mono=("ui-monospace", "monospace")).set(
        block_info_text_color="*neutral_600", input_placeholder_color="*neutral_500"
    )
    try:
        _, url, _ = app.launch(
            server_name=config.host, server_port=config.port, prevent_thread_lock=True, quiet=True,
            share=False, inbrowser=False, ssr_mode=False, mcp_server=False, enable_monitoring=False, run_history=False,
            pwa=False, max_file_size="5mb",
            footer_links=["api"], theme=theme, css=CSS, app_kwargs={"middleware": [Middleware(_PolicyMiddleware)]},
        )  # fmt: skip
    except OSError as error:
        raise ValueError(f"{config.host}:{config.port} cannot be listened on ({error}); give another --port") from None
    return str(url)


def launch(config: DemoConfig) -> None:
    """Open the page and serve it until interrupted. ValueError where base, adapter or port cannot be had."""
    check_port(config)
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    with tempfile.TemporaryDirectory(prefix="vesalius-demo-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder  # read when components are made; the usual one is shared by all users
        app = build_app(config)
        url = serve(app, config)
        if threading.current_thread() is threading.main_thread():
            signal.signal(
                signal.SIGTERM, signal.default_int_handler
            )  # so that the pictures' folder goes with the server
        print(f"{url} ({LABEL}; Ctrl-C ends it)", flush=True)
        app.block_thread()
