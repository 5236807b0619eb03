"""The image service: OpenAI's images API over one generator, whose drawings are batched."""

from __future__ import annotations

import asyncio
import base64
import hmac
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import ClientDisconnect

from vesalius.data.images.image import Picture, png_bytes
from vesalius.inference.drawing.memory import MOST_CHUNKS, MemoryPlan
from vesalius.inference.generator import BatchKey, Generator
from vesalius.inference.service.batching import Batcher, ClosedError, FullError
from vesalius.inference.service.config import ServeConfig
from vesalius.inference.service.metrics import ServiceMetrics
from vesalius.inference.service.request import MAX_BODY, Order, RequestError, read_order
from vesalius.models.adapters.export import public_name
from vesalius.models.adapters.mix import parse_adapters
from vesalius.models.support import support_of, weak_prompts

log = logging.getLogger(__name__)
LABEL = "Synthetic: not for diagnosis"
MOST_WARNED = 1000
"""Characters of the longest prompt that is compared with what the base has seen, which holds all other requests up."""
MOST_IGNORED = 64 * MAX_BODY
"""Bytes of a body that is too long which are read nevertheless, since a client that still writes hears no answer."""


class Service:
    """One generator and all that is needed to share it. key: what clients must show; None: nothing."""

    def __init__(
        self, generator: Generator, config: ServeConfig, key: str | None = None, memory: MemoryPlan | None = None
    ) -> None:  # fmt: skip
        """memory: the plan that the generator draws by; what it has no room for is refused."""
        self.generator, self.config, self.metrics = generator, config, ServiceMetrics()
        self.closing = False
        self.started = int(time.time())
        self._key = key.encode() if key else None
        self._support = support_of(config.base, config.adapter)
        self.batcher = Batcher(
            generator, self.metrics, batch_size=memory.batch_size if memory else config.batch_size,
            max_queue=config.max_queue, wait=config.batch_wait_ms / 1000, check=self._check_room if memory else None,
        )  # fmt: skip
        self.metrics.watch(lambda: self.batcher.num_waiting)

    @property
    def base_name(self) -> str:
        """The base's name without the folders of this machine, since clients read it in every picture."""
        return public_name(self.generator.base.name)

    @property
    def model(self) -> str:
        """What clients call the base with its adapters."""
        names = [Path(share.adapter).resolve().name for share in parse_adapters(self.config.adapter)]
        return "+".join([self.base_name, *names])

    def _check_room(self, key: BatchKey) -> None:
        """ValueError for a picture that the memory's budget was not made for."""
        edge = self.generator.base.image_size
        if key.shape[0] * key.shape[1] > edge * edge or key.num_chunks > MOST_CHUNKS:
            raise ValueError(
                f"This service draws within a budget of memory: pictures of up to {edge}x{edge}, and prompts of up to "
                f"{MOST_CHUNKS} contexts, of which this one fills {key.num_chunks}; ask for less"
            )

    def close(self) -> None:
        """Refuse new work; what was accepted is still drawn."""
        self.closing = True
        self.batcher.close()

    def authorize(self, request: Request) -> None:
        """RequestError where a key is asked for and not shown."""
        if self._key is None:
            return
        scheme, _, shown = request.headers.get("authorization", "").partition(" ")
        right = hmac.compare_digest(shown.strip().encode("latin-1"), self._key)
        if scheme.lower() != "bearer" or not right:
            raise RequestError(
                "No key, or a wrong one; send the header 'Authorization: Bearer KEY'", None, "invalid_api_key", 401
            )

    async def generate(self, request: Request) -> Response:
        """One request for images, counted by how it ends."""
        outcome = "failed"
        try:
            response, outcome = await self._generate(request)
            return response
        except RequestError as error:
            outcome = "unauthorized" if error.status == 401 else "invalid"
            return refusal(error)
        except ClientDisconnect:
            outcome = "disconnected"
            return _gone()
        finally:
            self.metrics.ended(outcome)

    async def _generate(self, request: Request) -> tuple[Response, str]:
        self.authorize(request)
        if self.closing:
            return _closing(), "closing"
        until = asyncio.get_running_loop().time() + self.config.timeout
        try:
            async with asyncio.timeout_at(until):
                order = read_order(await _read(request), self.config, self.generator, self.model)
                futures = self.batcher.submit(order.requests, order.sampling)
        except FullError as full:
            message = f"The queue is full; come back in {full.seconds} s"
            headers = {"Retry-After": str(full.seconds)}
            return told(429, message, "rate_limit_exceeded", "queue_full", headers=headers), "full"
        except ClosedError:
            return _closing(), "closing"
        except TimeoutError:
            return told(408, "The body did not come in time", "invalid_request_error", "timeout"), "timeout"
        pictures = asyncio.gather(*(asyncio.wrap_future(future) for future in futures))
        gone = asyncio.ensure_future(_disconnected(request))
        try:
            async with asyncio.timeout_at(until):
                await asyncio.wait((pictures, gone), return_when=asyncio.FIRST_COMPLETED)
                if not pictures.done():
                    return _gone(), "disconnected"
                drawn = await _drawn(pictures)
            return JSONResponse(await asyncio.to_thread(self._answer, order, drawn)), "ok"
        except RequestError:
            raise
        except TimeoutError:
            message = f"Not drawn within {self.config.timeout:g} s; ask for less, or later"
            return told(504, message, "server_error", "timeout"), "timeout"
        except Exception:
            log.exception("a request failed")
            return told(500, "The images could not be drawn; the service's log says why", "server_error"), "failed"
        finally:
            gone.cancel()
            pictures.cancel()
            for future in futures:  # changes nothing for what is drawn or being drawn
                future.cancel()

    def _answer(self, order: Order, drawn: Sequence[Picture]) -> dict[str, Any]:
        """What a client is told: the images as PNG with their recipes, and the seed of each."""
        height, width = order.size
        sampling, generator = order.sampling, self.generator
        data = []
        for request, picture in zip(order.requests, drawn, strict=True):
            sample = generator.sample_of(
                request, steps=sampling.steps, guidance=sampling.guidance, negative=sampling.negative
            )
            content = png_bytes(picture.image, sample.recipe())
            data.append({"b64_json": base64.b64encode(content).decode(), "seed": request.seed, "synthetic": True})
        prompt = order.requests[0].prompt
        asked = [(prompt, order.modality, ())] if len(prompt) <= MOST_WARNED else []
        return {
            "created": int(time.time()), "data": data, "output_format": "png", "size": f"{width}x{height}",
            "model": self.model, "seed": order.seed, "synthetic": True, "notice": LABEL,
            "warnings": weak_prompts(self._support, asked),
        }  # fmt: skip


def build_service(service: Service) -> FastAPI:
    """The image service as a FastAPI application; without pages of documentation, which would load scripts."""
    app = FastAPI(title="Vesalius", docs_url=None, redoc_url=None, openapi_url=None)

    @app.post("/v1/images/generations")
    async def generations(request: Request) -> Response:
        return await service.generate(request)

    @app.get("/v1/models")
    async def models(request: Request) -> Response:
        service.authorize(request)
        return JSONResponse({"object": "list", "data": [_model(service)]})

    @app.get("/v1/models/{name:path}")
    async def model(name: str, request: Request) -> Response:
        service.authorize(request)
        if name != service.model:
            message = f"The model '{name[:60]}' does not exist; this service has '{service.model}'"
            raise RequestError(message, "model", "model_not_found", 404)
        return JSONResponse(_model(service))

    @app.get("/health")
    async def health() -> Response:
        status = "closing" if service.closing else "ok" if service.batcher.alive else "failed"
        return JSONResponse({"status": status}, status_code=200 if status == "ok" else 503)

    @app.get("/metrics")
    async def metrics(request: Request) -> Response:
        service.authorize(request)
        return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    @app.exception_handler(RequestError)
    async def refuse(_: Request, error: RequestError) -> Response:
        return refusal(error)

    @app.exception_handler(404)
    @app.exception_handler(405)
    async def elsewhere(request: Request, error: HTTPException) -> Response:
        message = (
            f"Nothing is at {request.method} {request.scope['path'][:100]}; images are at POST /v1/images/generations"
        )
        return told(error.status_code, message, "invalid_request_error", "unknown_url", headers=error.headers)

    @app.exception_handler(Exception)
    async def failed(_: Request, __: Exception) -> Response:  # it is raised again for the log
        return told(500, "The service failed; its log says why", "server_error")

    return app


def told(
    status: int,
    message: str,
    kind: str,
    code: str | None = None,
    param: str | None = None,
    headers: Any = None,
) -> Response:
    """An error as OpenAI writes it."""
    error = {"message": message, "type": kind, "param": param, "code": code}
    return JSONResponse({"error": error}, status_code=status, headers=headers)


def refusal(error: RequestError) -> Response:
    headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else None
    return told(error.status, error.message, "invalid_request_error", error.code, error.param, headers)


def _closing() -> Response:
    return told(503, "The service is closing; ask another", "server_error", "closing", headers={"Connection": "close"})


def _gone() -> Response:
    """An answer that nobody hears; nginx' number for it."""
    return Response(status_code=499)


def _model(service: Service) -> dict[str, Any]:
    return {"id": service.model, "object": "model", "created": service.started, "owned_by": "vesalius"}


async def _read(request: Request) -> bytes:
    """The body, of at most MAX_BODY bytes. RequestError where it is longer, or says that it is no JSON."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":  # what a page of another site cannot send without being asked for leave
        raise RequestError("Send the body as JSON, with the header 'Content-Type: application/json'", None, "no_json")
    content, length = bytearray(), 0
    async for chunk in request.stream():
        length += len(chunk)
        if length <= MAX_BODY:
            content += chunk
        elif length > MOST_IGNORED:
            break
    if length > MAX_BODY:
        raise RequestError(f"The body is too long; at most {MAX_BODY} bytes are read", None, "body_too_long")
    return bytes(content)


async def _drawn(pictures: asyncio.Future[list[Picture]]) -> list[Picture]:
    """The pictures. RequestError for what only drawing shows, such as a guidance beyond what numbers hold."""
    try:
        return await pictures
    except ValueError as error:
        raise RequestError(str(error), None, "not_drawable") from None


async def _disconnected(request: Request) -> None:
    """Returns when the client has gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
