"""medpref: preference optimization for medical vision-language models, measured honestly.

The folders are the pipeline, and data flows through them in one direction::

    pairs -> backbones -> scoring -> objectives -> training -> evaluation -> report
"""

__version__ = "0.1.0"
