"""The server's routes: the page for everybody, everything of the study for those who are signed in."""

import hmac
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from medpref.errors import InputError
from medpref.evaluation.looking.error_rules import ERROR_KINDS
from medpref.pairs.images import open_image
from medpref.pairs.pair import IMAGE_PLACEHOLDER
from medpref.report.images import read_outline
from medpref.review.access import Access, Session
from medpref.review.database import NotSavedError
from medpref.review.judgement import JUDGEMENTS, LONGEST_COMMENT, Harm, Verdict
from medpref.review.plan import Item
from medpref.review.rate import RateLimit
from medpref.review.store import ConflictError, Saved, Store

LARGEST_IMAGE = 4096
"""The longest edge of an image that browsers get, in pixels."""
PAGE = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/review.css": ("review.css", "text/css; charset=utf-8"),
    **{
        f"/{name}": (name, "text/javascript; charset=utf-8")
        for name in ("main.js", "server.js", "saving.js", "viewer.js", "form.js", "keys.js")
    },
}
"""All files that are served, by their path."""


@dataclass(frozen=True, slots=True)
class Review:
    """What the routes work on.

    Attributes:
        run: the run folder, which image names start from.
        store: the judgements.
        access: the reviewers.
        cookie: the session cookie's name, another for each port: browsers share cookies between ports.
        secure: whether the server speaks TLS.
        sign_ins: how often an address may try a token.
    """

    run: Path
    store: Store
    access: Access
    cookie: str
    secure: bool
    sign_ins: RateLimit


class SignIn(BaseModel):
    """A token."""

    model_config = ConfigDict(extra="forbid")

    token: str = Field(max_length=200)


class Save(BaseModel):
    """A judgement on its way: `save` names the save, `base` is the revision that the sender has seen."""

    model_config = ConfigDict(extra="forbid")

    save: str = Field(pattern=r"^[0-9a-f-]{36}$")
    base: int = Field(ge=0)
    judgement: dict[str, Any]


def make_app(review: Review, when_done: Callable[[], None]) -> FastAPI:
    """Return the application; `when_done` is called when the server ends in good order."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        when_done()

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    for path, (name, media) in PAGE.items():
        app.add_api_route(path, _page(name, media), methods=["GET"])
    app.include_router(_session_routes(review))
    app.include_router(_item_routes(review))
    app.add_exception_handler(NotSavedError, _not_saved)
    return app


def _page(name: str, media: str) -> Callable[[], Response]:
    content = files("medpref.review").joinpath("page", name).read_bytes()
    return lambda: Response(content, media_type=media)


def _not_saved(_: Request, error: Exception) -> Response:
    return JSONResponse({"detail": getattr(error, "what", "not saved")}, 507)


def _guards(review: Review) -> tuple[Callable[..., Session], Callable[..., Session]]:
    """Return what reads, and what changes, have to pass; both give the session."""

    def signed_in(request: Request) -> Session:
        session = review.access.session(request.cookies.get(review.cookie, ""))
        if session is None:
            raise HTTPException(401, "sign in with your token")
        return session

    def may_change(request: Request, session: Annotated[Session, Depends(signed_in)]) -> Session:
        if not hmac.compare_digest(request.headers.get("x-csrf-token", "").encode(), session.csrf.encode()):
            raise HTTPException(403, "the page is out of date: load it again")
        return session

    return signed_in, may_change


def _session_routes(review: Review) -> APIRouter:
    router = APIRouter(prefix="/api/session")
    signed_in, may_change = _guards(review)

    @router.post("")
    def sign_in(said: SignIn, request: Request, response: Response) -> dict[str, Any]:
        wait = review.sign_ins.wait(request.client.host if request.client else "")
        if wait:
            raise HTTPException(429, "too many attempts", {"retry-after": str(int(wait) + 1)})
        begun = review.access.sign_in(said.token)
        if begun is None:
            raise HTTPException(401, "this token is not known")
        ident, session = begun
        response.set_cookie(
            review.cookie, ident, httponly=True, samesite="strict", secure=review.secure, path="/"
        )
        return _about(review, session)

    @router.get("")
    def about(session: Annotated[Session, Depends(signed_in)]) -> dict[str, Any]:
        return _about(review, session)

    @router.delete("", status_code=204)
    def sign_out(request: Request, response: Response, _: Annotated[Session, Depends(may_change)]) -> None:
        review.access.sign_out(request.cookies[review.cookie])
        response.delete_cookie(review.cookie, path="/")

    return router


def _about(review: Review, session: Session) -> dict[str, Any]:
    plan, done = review.store.plan, review.store.complete(session.reviewer)
    return {
        "csrf": session.csrf,
        "reviewer": session.reviewer,
        "study": plan.study,
        "review": plan.fingerprint,
        "items": [
            {"id": i.id, "kind": i.kind, "complete": i.id in done} for i in plan.order(session.reviewer)
        ],
        "vocabulary": {
            "verdicts": list(Verdict),
            "errors": ERROR_KINDS,
            "harms": list(Harm),
            "longest_comment": LONGEST_COMMENT,
        },
    }


def _item_routes(review: Review) -> APIRouter:
    router = APIRouter(prefix="/api/items/{ident}")
    plan, store = review.store.plan, review.store
    signed_in, may_change = _guards(review)

    def known(ident: str) -> Item:
        if ident not in plan.by_id:
            raise HTTPException(404, "there is no such item")
        return plan.by_id[ident]

    SignedIn = Annotated[Session, Depends(signed_in)]  # noqa: N806
    Known = Annotated[Item, Depends(known)]  # noqa: N806

    @router.get("")
    def item(session: SignedIn, item: Known) -> dict[str, Any]:
        return _shown(review, item, session.reviewer)

    @router.get("/images/{number}")
    def image(_: SignedIn, item: Known, number: int) -> Response:
        if not 0 <= number < len(item.question.images):
            raise HTTPException(404, "the question has no such image")
        try:
            content = _png(review.run / item.question.images[number])
        except InputError:
            # The message names a path.
            raise HTTPException(404, "the image cannot be read") from None
        return Response(content, media_type="image/png")

    @router.get("/region")
    def region(_: SignedIn, item: Known) -> dict[str, Any]:
        mask = _region(item)
        outline = read_outline(review.run / mask) if mask else None
        if outline is None:
            raise HTTPException(404, "the question has no region")
        return outline._asdict()

    @router.get("/reference")
    def reference(_: SignedIn, item: Known) -> dict[str, Any]:
        if not plan.settings.reference:
            raise HTTPException(404, "reference answers are not shown")
        return {"text": item.question.gold}

    @router.put("/judgement")
    def save(session: Annotated[Session, Depends(may_change)], item: Known, said: Save) -> Response:
        judgement = _judgement(item, said.judgement)
        try:
            saved = store.save(session.reviewer, item, said.save, said.base, judgement)
        except ConflictError as error:
            return JSONResponse({"detail": "changed elsewhere", "current": _state(error.current)}, 409)
        return JSONResponse(_state(saved))

    return router


def _region(item: Item) -> str | None:
    """Return the mask of the region; which of several images it would lie on is not known."""
    return item.question.region if len(item.question.images) == 1 else None


def _shown(review: Review, item: Item, reviewer: str) -> dict[str, Any]:
    """Return an item as a reviewer sees it: nothing in it tells a method, the sample, or a file."""
    plan = review.store.plan
    return {
        "id": item.id,
        "kind": item.kind,
        "question": item.question.prompt.replace(IMAGE_PLACEHOLDER, "").strip(),
        "images": len(item.question.images),
        "region": _region(item) is not None,
        "reference": plan.settings.reference,
        "answers": [{"key": a.key, "text": a.text} for a in plan.shown(item, reviewer)],
        **_state(review.store.find(reviewer, item)),
    }


def _state(saved: Saved | None) -> dict[str, Any]:
    if saved is None:
        return {"revision": 0, "judgement": None, "complete": False}
    return {
        "revision": saved.revision,
        "judgement": saved.judgement.model_dump(mode="json"),
        "complete": saved.judgement.complete,
    }


def _judgement(item: Item, said: dict[str, Any]) -> Any:
    try:
        judgement = JUDGEMENTS[item.kind].model_validate(said)
    except ValidationError as error:
        raise HTTPException(422, error.errors(include_url=False, include_input=False)[0]["msg"]) from None
    known = {None, "tie", "cannot-tell", *(answer.key for answer in item.answers)}
    if getattr(judgement, "preferred", None) not in known:
        raise HTTPException(422, "this answer is not one of the two")
    return judgement


@lru_cache(maxsize=16)
def _png(path: Path) -> bytes:
    """Return an image without its metadata, at most `LARGEST_IMAGE` pixels long."""
    image = open_image(path)
    image.thumbnail((LARGEST_IMAGE, LARGEST_IMAGE), Image.Resampling.LANCZOS)
    image.info = {}
    buffer = BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
