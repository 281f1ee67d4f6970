"""The process in which the user's program runs: Hydra's own ``run_job``, with the laptop's Hydra state around it.

``python -m hydra_gce.agent.program <order>``: the order is a JSON file that names the pickled program, where to put
the pickled ``JobReturn``, the working directory, and how laptop paths are translated.
"""

from __future__ import annotations

import json
import logging
import os
import pickle
import sys
import traceback
from pathlib import Path
from typing import Any

from hydra_gce.paths import translate as translate_path
from hydra_gce.tracking.environment import is_direct


def main(order_file: str) -> None:
    order = json.loads(Path(order_file).read_text(encoding="utf-8"))
    sys.path[0:0] = order["sys_path"]
    sys.argv = [order["script"] or "program"]
    os.chdir(order["cwd"])
    # That MLflow measures the VM is our wish: it need not say so in the program's log at each start and end of a run.
    logging.getLogger("mlflow.system_metrics").setLevel(logging.WARNING)
    if is_direct(os.environ):
        from hydra_gce.tracking.vm import direct

        direct.have_experiment()
        direct.go_on()
    program: dict[str, Any] = pickle.loads(Path(order["program"]).read_bytes())
    job_return = _run(program, order["translate"])
    _write(Path(order["job_return"]), job_return)


def _run(program: dict[str, Any], translate: list[tuple[str, str]]) -> Any:
    import cloudpickle
    from hydra.core.config_store import ConfigStore
    from hydra.core.hydra_config import HydraConfig
    from hydra.core.singleton import Singleton
    from hydra.core.utils import run_job, setup_globals
    from omegaconf import read_write

    # As Singleton.set_state does, but for the scan of all plugins: composing is over, so no plugin is needed here.
    for name, instance in program["singletons"].items():
        Singleton._instances[cloudpickle.loads(name)] = cloudpickle.loads(instance)
    ConfigStore.instance().repo.update(_loaded(program["stored_configs"]))
    _bring_resolvers(_loaded(program["resolvers"]))
    setup_globals()
    config = cloudpickle.loads(program["config"])
    with read_write(config.hydra.runtime):
        config.hydra.runtime.cwd = os.getcwd()
    with read_write(config.hydra.sweep):
        config.hydra.sweep.dir = translate_path(str(config.hydra.sweep.dir), translate)
    HydraConfig.instance().set_config(config)
    job_return = run_job(
        hydra_context=cloudpickle.loads(program["hydra_context"]),
        task_function=cloudpickle.loads(program["task_function"]),
        config=config,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
    )
    if job_return.status.name == "FAILED":
        traceback.print_exception(job_return._return_value)  # into the job's log
    return job_return


def _bring_resolvers(resolvers: dict[str, Any]) -> None:
    """Those of the laptop. A module that registers one of them there does so here as well, when something imports it:
    the first time that is no mistake.
    """
    from omegaconf import OmegaConf
    from omegaconf.basecontainer import BaseContainer

    BaseContainer._resolvers.update(resolvers)
    brought = set(resolvers)
    register = OmegaConf.register_new_resolver

    def register_again(name: str, resolver: Any, *, replace: bool = False, use_cache: bool = False) -> None:
        register(name, resolver, replace=replace or name in brought, use_cache=use_cache)
        brought.discard(name)

    OmegaConf.register_new_resolver = staticmethod(register_again)  # type: ignore[method-assign]


def _loaded(pickled: dict[str, bytes]) -> dict[str, Any]:
    """All but those of packages that only the laptop has: a plugin's resolver, which this config may not even use."""
    import cloudpickle

    loaded = {}
    for name, value in pickled.items():
        try:
            loaded[name] = cloudpickle.loads(value)
        except ImportError as error:
            print(f"hydra-gce: {name} is not there on this VM: {error}", file=sys.stderr)
    return loaded


def _write(target: Path, job_return: Any) -> None:
    """Pickles what came back; a value or an exception that cannot travel becomes an error that says so."""
    import cloudpickle

    value = job_return._return_value
    text = "".join(traceback.format_exception(value)) if isinstance(value, BaseException) else ""
    try:
        body = cloudpickle.dumps(job_return)
        pickle.loads(body)
    except Exception as error:  # whatever a user's __reduce__ raises
        from hydra.core.utils import JobStatus

        from hydra_gce.errors import JobFailed

        what = "exception" if isinstance(value, BaseException) else "return value"
        job_return._return_value = JobFailed(
            f"the job's {what} of type {type(value).__qualname__} cannot be pickled ({error})."
            + (f"\n{text}" if text else " Return numbers, strings, or containers of them.")
        )
        job_return.status = JobStatus.FAILED
        text = str(job_return._return_value)
        body = cloudpickle.dumps(job_return)
    number = float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
    part = target.with_suffix(".part")
    part.write_bytes(
        pickle.dumps({"job_return": body, "traceback": text, "failed": bool(text), "number": number})
    )
    part.replace(target)


if __name__ == "__main__":
    main(sys.argv[1])
