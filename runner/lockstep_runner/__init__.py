"""Lockstep's code inside an environment: reads `work/job.json`, loads the model once, answers, scores, leaves files.

The contract, all paths relative to the working directory:

    read     work/job.json            what to do (schema 2)
             work/in/…, cache/…       what earlier stages, the hub cache and the data folder hold; never written
    written  work/out/<stage>/predictions.jsonl, conditions.json, scores.jsonl, raw/, index.json, result.json
             work/out/events.jsonl, work/out/error.json, work/out/<model>_results.csv|.xlsx

`result.json` is renamed into place: finished means renamed. Exit codes: 0 the end was reached (the result files say
how), 1 the job could not go on (`error.json` says why), 2 the command line or job.json is wrong, 74 there is no room to
write (`error.json` says where, unless there is no room for that either), 128+n signal n came.
Every module here imports nothing but the standard library when it is imported; torch, transformers and VLMEvalKit come
in where they are used.
"""

from __future__ import annotations

__version__ = "0.1.0"
