"""The APIs around Compute Engine: which of them are on, who may do what, service accounts, projects, buckets.

Each is served below its own name (`/iam/v1/…`, `/serviceusage/v1/…`), buckets below `/storage/v1/b`; `app` is their
HTTP face. `gate` is asked before Compute Engine carries a request out.
"""
