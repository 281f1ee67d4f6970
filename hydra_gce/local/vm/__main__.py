"""Starts a hypervisor: `python -I -S .../vm/__main__.py <directory> <lock fd> <ready fd>`.

Run by path, without `site`, so that no start-up hook of the environment costs time; hence the package's root
is put on the path here.
"""

import os
import sys

if __name__ == "__main__":
    _here = os.path.realpath(__file__)
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(_here))))
    from hydra_gce.local.vm.hypervisor import main

    main(sys.argv[1], lock=int(sys.argv[2]), ready=int(sys.argv[3]))
