"""From annotations to a calibrated, exported and evaluated bundle."""

from importlib.util import find_spec

from diplophrase.errors import MissingExtra

for _package in ("torch", "transformers", "datasets", "sklearn", "cleanlab", "onnx"):
    if find_spec(_package) is None:
        raise MissingExtra("training", "train", _package)
