"""``python -m hydra_gce.cli`` is ``hydra-gce``."""

import sys

from hydra_gce.cli import main

sys.exit(main())
