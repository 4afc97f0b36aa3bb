"""One module per group of verbs; imported by cli only when its verb is called."""
