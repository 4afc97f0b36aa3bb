"""The demo: four small benchmarks, a captioning set and the tiny models that answer them."""
