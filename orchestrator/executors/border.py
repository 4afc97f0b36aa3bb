"""What a job must not be given because an earlier one has exchanged it: a job owns all that lies below its output."""

from __future__ import annotations

from orchestrator.executors.protocol import Job


def exchanged(job: Job) -> list[str]:
    """Folders of the job's run that are to be mounted and lie behind a link, as no run makes any.

    An earlier job of the run can have put one there, so that a folder of the host's would be mounted in its place, and
    belong to the user inside. The run's own folder may lie behind links: those are the caller's.
    """
    run = job.folder.absolute().parents[1]
    real = run.resolve()
    found = []
    for mount in job.mounts:
        source = mount.source.absolute()
        if source.is_relative_to(run) and source.resolve() != real / source.relative_to(run):
            found.append(str(mount.source))
    return found
