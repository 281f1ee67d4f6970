"""The embedded virtual machine: one hypervisor process per VM, a process tree of its own behind it.

    machine = Machine(directory)
    machine.create(MachineSpec(name="hg-1", cpus=1, memory_bytes=2 << 30, python=sys.executable, metadata=tree))
    machine.power_on()

The names below are loaded when first asked for: the hypervisor runs inside this package and must start in
milliseconds, without the modules that only its client needs.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hydra_gce.local.vm.isolation import Isolation
    from hydra_gce.local.vm.machine import Machine, MachineError
    from hydra_gce.local.vm.spec import Exit, ExitReason, MachineSpec, SerialOutput

__all__ = ["Exit", "ExitReason", "Isolation", "Machine", "MachineError", "MachineSpec", "SerialOutput"]

_HOMES = {
    "Exit": "spec",
    "ExitReason": "spec",
    "Isolation": "isolation",
    "Machine": "machine",
    "MachineError": "machine",
    "MachineSpec": "spec",
    "SerialOutput": "spec",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
