"""YAML as JSON, and a SAM template as the CloudFormation that AWS makes of it: translate.py FILE RESULT."""

import json
import os
import pathlib
import sys

os.environ.setdefault("AWS_DEFAULT_REGION", "eu-west-1")

from samtranslator.public.exceptions import InvalidDocumentException  # noqa: E402
from samtranslator.translator.transform import transform  # noqa: E402
from samtranslator.yaml_helper import yaml_parse  # noqa: E402


class NoManagedPolicies:
    """The templates name none: each role says what it may do."""

    def load(self):
        return {}


def translated(document):
    for resource in document["Resources"].values():
        # `sam package` uploads what is in a file, and puts its address there.
        if "Location" in resource.get("Properties", {}):
            resource["Properties"]["Location"] = "s3://packaged/" + resource["Properties"]["Location"]
    document["Globals"]["Function"]["CodeUri"] = "s3://packaged/code"
    try:
        return transform(document, {}, NoManagedPolicies())
    except InvalidDocumentException as refused:
        sys.exit("\n".join(cause.message for cause in refused.causes))


file, result = map(pathlib.Path, sys.argv[1:])
document = yaml_parse(file.read_text())
if "Transform" in document:
    document = translated(document)
result.write_text(json.dumps(document, indent=1))
