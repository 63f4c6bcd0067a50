"""What endpoints are given: the services of the process, and the rendered events."""

from typing import Annotated

from fastapi import Depends, Request

from score_maker import composition
from score_maker.http.events.views import EventViews


async def _services(request: Request) -> composition.Services:
    services: composition.Services = request.state.services
    return services


async def _views(request: Request) -> EventViews:
    views: EventViews = request.state.views
    return views


Services = Annotated[composition.Services, Depends(_services)]
Views = Annotated[EventViews, Depends(_views)]
