"""What Grafana's own types do not know in a dashboard, one line each: dashboard.py FILE."""

import json
import sys

from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard


def lost(said, kept, path=""):
    """What was said and is not kept: the types drop what they have no field for."""
    if isinstance(said, dict) and isinstance(kept, dict):
        for name, value in said.items():
            if name in kept:
                yield from lost(value, kept[name], f"{path}/{name}")
            else:
                yield f"{path}/{name}"
    elif isinstance(said, list) and isinstance(kept, list) and len(said) == len(kept):
        for place, values in enumerate(zip(said, kept)):
            yield from lost(*values, f"{path}/{place}")
    elif said != kept:
        yield path


plugins.register_default_plugins()
with open(sys.argv[1]) as file:
    said = json.load(file)
kept = json.loads(json.dumps(Dashboard.from_json(said), cls=JSONEncoder))
print("\n".join(lost(said, kept)))
