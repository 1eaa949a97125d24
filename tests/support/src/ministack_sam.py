"""ministack as a place to deploy to, made right in two points.

AWS authorizes a batch call by the action of the single call. And an index that CloudFormation made is active, which
DescribeTable tells.
"""

from ministack.core import iam_actions
from ministack.services.cloudformation import provisioners

BATCHES = {
    "sns:PublishBatch": "sns:Publish",
    "sqs:SendMessageBatch": "sqs:SendMessage",
    "sqs:DeleteMessageBatch": "sqs:DeleteMessage",
    "sqs:ChangeMessageVisibilityBatch": "sqs:ChangeMessageVisibility",
}


def as_single(extract):
    def action(*arguments, **named):
        found = extract(*arguments, **named)
        return BATCHES.get(found, found)

    return action


def with_active_indexes(create):
    def made(logical_id, properties, *arguments, **named):
        for index in properties.get("GlobalSecondaryIndexes", []):
            index.setdefault("IndexStatus", "ACTIVE")
        return create(logical_id, properties, *arguments, **named)

    return made


iam_actions.extract_iam_action = as_single(iam_actions.extract_iam_action)
tables = provisioners._RESOURCE_HANDLERS["AWS::DynamoDB::Table"]
tables["create"] = with_active_indexes(tables["create"])

from ministack.app import main  # noqa: E402  It takes the first of these when it is imported.

main()
