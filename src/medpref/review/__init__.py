"""Experts judge a run's answers in the browser, blind and in random order; the logs keep what they say."""
