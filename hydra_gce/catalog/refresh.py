"""A fresh catalogue for this laptop: types and zones from Compute Engine, prices from Google's price list.

    refresh(backend, date.today())       # `hydra-gce setup --refresh`

The whole set is made and checked aside, and then counts at once. Where prices cannot be had, they stay as they were.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra_gce.catalog import listing, pricing, shelf, skus
from hydra_gce.catalog.tables import Catalogue
from hydra_gce.errors import Unreachable

if TYPE_CHECKING:
    from requests import Session

    from hydra_gce.cloud.backend import Backend

PAGE = 5000
DEADLINE_S = 60.0

# A list with less than this share of the zones and types that are known was cut off somewhere.
LEAST_SHARE = 0.5


@dataclass(frozen=True)
class Refreshed:
    """What came of it. prices_stay: why the prices are the old ones; None where they are new.

    strange: machine types left out, because they bring something that is not known here.
    """

    directory: Path
    types: int
    zones: int
    regions: int
    strange: list[str]
    prices_stay: str | None


class PricesUnreachable(Exception):
    """The price list cannot be had; the message says why."""


def refresh(backend: Backend, today: date, api_key: str | None = None) -> Refreshed:
    """Asks Compute Engine and the Cloud Billing Catalog, and makes what they say the laptop's catalogue.

    :param api_key: for the price list, instead of the backend's credentials.
    :raises CredentialsError: Compute Engine may not be listed.
    :raises Unreachable: it does not answer, or not with all. Nothing was changed then.
    """
    known = Catalogue(shelf.place())
    listed = listing.ask(backend)
    tables, strange = listing.tables_of(listed, known)
    prices_stay: str | None = None
    try:
        rates = skus.rates_of(_price_list(backend, api_key))
        tables |= pricing.tables_of(rates, known, today)
    except (PricesUnreachable, pricing.NotUnderstood) as error:
        prices_stay = str(error)
    directory = shelf.shelve(tables)
    fresh = Catalogue(directory)
    try:
        _check(fresh, known)
    except (ValueError, KeyError, ArithmeticError) as error:
        shelf.discard(directory)
        raise Unreachable(
            f"hydra-gce setup --refresh: what Google told does not make a catalogue ({error}). Nothing was changed."
        ) from error
    shelf.take(directory)
    return Refreshed(
        directory, len(fresh.machine_types), len(fresh.zones), len(fresh.regions), strange, prices_stay
    )


def _check(fresh: Catalogue, known: Catalogue) -> None:
    """Reads all tables and holds them against each other.

    :raises ValueError: with what is missing or wrong.
    """
    for what, now, before in (
        ("zones", fresh.zones, known.zones),
        ("machine types", fresh.machine_types, known.machine_types),
        ("GPUs in zones", fresh.gpu_zones, known.gpu_zones),
    ):
        if len(now) < LEAST_SHARE * len(before):
            raise ValueError(f"{len(now)} {what}, where {len(before)} are known")
    strangers = {at for one in fresh.machine_types.values() for at in one.regions} - fresh.regions.keys()
    if strangers:
        raise ValueError(f"machine types in regions without zones: {', '.join(sorted(strangers))}")
    unknown = {part.gpu for part in fresh.machine_parts.values()} - fresh.gpus.keys() - {None}
    if unknown or not fresh.attachable:
        raise ValueError(f"GPUs without a name: {unknown}")
    bases = {
        one.basis
        for table in (fresh.host_rates, fresh.gpu_rates, fresh.type_rates, fresh.disk_rates)
        for regions in table.values()
        for one in regions.values()
    }
    if not bases <= fresh.sources.keys() or not fresh.address_rates:
        raise ValueError(f"prices without a source: {', '.join(sorted(bases - fresh.sources.keys()))}")


def _price_list(backend: Backend, api_key: str | None) -> Iterator[Mapping[str, Any]]:
    """All SKUs of Compute Engine, page by page.

    https://cloud.google.com/billing/v1/how-tos/catalog-api

    :raises PricesUnreachable: at whatever page.
    """
    from google.auth.exceptions import GoogleAuthError
    from requests.exceptions import RequestException

    if backend.billing_endpoint is None:
        raise PricesUnreachable("this Compute Engine has no price list")
    address = f"{backend.billing_endpoint}/v1/services/{skus.COMPUTE_ENGINE}/skus"
    session = _session(backend, api_key)
    query: dict[str, str | int] = {"pageSize": PAGE, "currencyCode": "USD"}
    while True:
        try:
            answer = session.get(address, params=query, timeout=DEADLINE_S)
            if answer.status_code != 200:
                raise PricesUnreachable(f"the Cloud Billing Catalog refused: {_refusal(answer)}")
            page = answer.json()
        except (
            GoogleAuthError,
            RequestException,
        ) as error:  # a ValueError of json() is a RequestException too
            raise PricesUnreachable(f"the Cloud Billing Catalog did not answer: {error}") from error
        yield from page.get("skus", [])
        if not page.get("nextPageToken"):
            return
        query["pageToken"] = page["nextPageToken"]


def _session(backend: Backend, api_key: str | None) -> Session:
    import requests
    from google.auth.transport.requests import AuthorizedSession
    from google.oauth2.credentials import Credentials as PersonsCredentials

    if api_key is not None:
        session = requests.Session()
        session.headers["X-Goog-Api-Key"] = api_key  # not in the address: addresses get logged
        return session
    credentials = backend.credentials
    if isinstance(credentials, PersonsCredentials) and not credentials.quota_project_id:
        # They belong to no project, and the API wants one to count the requests on.
        credentials = credentials.with_quota_project(backend.project)
    authorized: Session = AuthorizedSession(credentials)
    return authorized


def _refusal(answer: Any) -> str:
    """ "403 Cloud Billing API has not been used in project ..." """
    try:
        said = answer.json()["error"]["message"]
    except (ValueError, KeyError, TypeError):
        said = answer.reason
    return f"{answer.status_code} {str(said).strip()[:500]}"
