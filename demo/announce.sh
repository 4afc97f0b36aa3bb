#!/bin/sh
# Says what `make demo` will download and about how long it takes, before anything starts.
cat <<'T'
make demo: four tiny real models and two baselines on five small benchmarks, 10 questions each.
  downloads, once: about 3.1 GB of Python packages (torch with CUDA libraries, three transformers versions),
  and about 0.1 GB for a base system where an engine is there to build images.
  takes: about 10 minutes the first time on two cores and a fast network, one or two after that; 15 GB of disk while building.
  The models are in the repository: no token, no GPU, no model hub.
T
