"""Google Cloud, or what plays it here: addresses, credentials, and what it means when nobody answers."""
