"""Verbs for whoever keeps the node: images, base-image, locks, doctor, clean."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from orchestrator import console
from orchestrator.errors import Exit, UsageError, did_you_mean
from orchestrator.layout import ProjectLayout
from orchestrator.settings import project_path, settings

if TYPE_CHECKING:
    from orchestrator.registry.load import Registry


def images(arguments: argparse.Namespace) -> int:
    """Build the images of a registry's environments; with flags list or prune them."""
    from orchestrator import images as making
    from orchestrator.backing import specs_of
    from orchestrator.registry.load import load

    layout = ProjectLayout()
    environ = settings()
    registry = load(project_path(arguments.registry))
    specs = specs_of(registry, layout)
    names = _chosen(registry, arguments.environment)
    chosen = [spec for spec in specs if spec.name in names]
    if arguments.prune:
        making.prune(specs, layout=layout, environ=environ)
    elif arguments.list or arguments.tags:
        for spec in chosen:
            found = making.find(spec, layout=layout, environ=environ)
            if arguments.tags:
                print(*([found.tag] if found else []), sep="\n", end="\n" if found else "")
            else:
                print(
                    f"{spec.name}  {f'{found.tag}  {found.id}' if found else f'not built: make images ENV={spec.name}'}"
                )
    else:
        making.build(chosen, layout=layout, environ=environ)
    return int(Exit.OK)


def _chosen(registry: Registry, named: list[str]) -> list[str]:
    unknown = [name for name in named if name not in registry.environments]
    if unknown:
        raise UsageError(*(f"no environment {n!r}{did_you_mean(n, registry.environments)}" for n in unknown))
    return named or list(registry.environments)


def venvs(arguments: argparse.Namespace) -> int:
    """Make the environments as venvs; what is there already costs nothing."""
    from orchestrator.backing import open_executor
    from orchestrator.registry.load import load

    layout = ProjectLayout()
    registry = load(project_path(arguments.registry))
    executor = open_executor("venv", registry, layout, unsandboxed=False, say=print, environ=settings())
    for name in _chosen(registry, arguments.environment):
        executor.prepare(name)
        print(f"{name}: {executor.describe(name)['environment_digest']}")
    return int(Exit.OK)


def base_image(arguments: argparse.Namespace) -> int:
    """Make the base with debootstrap."""
    from orchestrator.images import build_base_image

    build_base_image(environ=settings())
    return int(Exit.OK)


def locks(arguments: argparse.Namespace) -> int:
    """Compile or check the locks."""
    from orchestrator import locks as making

    if arguments.check:
        problems = making.check_locks(arguments.environment, offline=arguments.offline)
        for problem in problems:
            print(problem, file=sys.stderr)
        if not problems:
            print("the locks are fresh")
        return int(Exit.FAILED if problems else Exit.OK)
    making.compile_locks(arguments.environment, upgrade=arguments.upgrade, locker=arguments.locker)
    return int(Exit.OK)


def doctor(arguments: argparse.Namespace) -> int:
    """Look at everything that a run needs, and say what to type for each that is not well."""
    from dataclasses import asdict

    from orchestrator.doctor import examine
    from orchestrator.registry.load import load

    rows = examine(
        load(project_path(arguments.registry)), ProjectLayout(outputs=project_path(arguments.output_root)), settings()
    )
    if arguments.json:
        console.print_json([asdict(row) for row in rows])
    else:
        console.print_doctor(rows)
    return int(Exit.UNAVAILABLE if any(row.state == "missing" for row in rows) else Exit.OK)


def clean(arguments: argparse.Namespace) -> int:
    """List what runs of this project left in the engine, and remove it with --yes."""
    from orchestrator.executors import project_name
    from orchestrator.executors.container_engine import connect, labelled, remove

    environ = settings()
    engine = connect("docker", environ)
    left = kept = 0
    for container in labelled(engine, project=project_name(ProjectLayout().root)):
        state = engine.api.inspect_container(container)
        name, running = str(state["Name"]).lstrip("/"), bool(state["State"]["Running"])
        if running and not arguments.running:
            kept += 1
            print(f"{name}: running, kept")
        elif arguments.yes:
            remove(engine, container)
            print(f"{name}: removed")
        else:
            left += 1
            print(f"{name}: {state['State']['Status']}")
    if kept:
        print("a run may be at work; where none is: python run_matrix.py clean --running --yes")
    if left:
        print("remove them: python run_matrix.py clean --yes" + (" --running" if arguments.running else ""))
    if not left and not kept:
        print("nothing left behind")
    return int(Exit.OK)
