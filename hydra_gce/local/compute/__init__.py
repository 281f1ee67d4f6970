"""Compute Engine's v1 REST API, by resource: routes (`app`), answers (one module per resource), state (`cloud`)."""
