"""Asks an application of pages without a process or a port."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
from starlette.types import ASGIApp

HERE = "http://127.0.0.1:8000"
Ask = Callable[..., httpx.Response]


def asking(app: ASGIApp) -> Ask:
    def send(method: str, path: str, **more: Any) -> httpx.Response:
        async def sent() -> httpx.Response:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=HERE) as client:
                return await client.request(method, path, **more)

        with ThreadPoolExecutor(1) as other:  # a browser of another test may have a loop in this one
            return other.submit(asyncio.run, sent()).result()

    return send
