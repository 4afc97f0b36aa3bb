"""From a registry to jobs: what will run, what is there already, and why."""
